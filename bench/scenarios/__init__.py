"""Scenarios, one family of rows to a module.

accept      accept levels in turn
catalogue   scenarios by name
edge        relay, issuer, and a plain handler beside the relay
build       wall time of ``sigmill sign`` on a build's files
first_second wall time and CPU of ``sigmill sign`` on one file
grants      cost of grants in a lane
growth      cost and memory by backlog, tenants and workers
latency     one digest at idle; open-loop load at parts of the capacity
matrix      every kind of key and size of envelope
orders      an operator's orders until all workers obey them
record      with and without a record in turn
record_costs costs of a sealed log, in a process of its own
rubbish     a neighbour beside floods of jobs that no client has signed
simulated   simulated network HSM
singles     single digests by many clients, beside stock arq
tenancy     accuracy of rates, noisy neighbours, shares
throughput  pipeline against the module's ceiling

Must never import ``bench.runner``.
"""
