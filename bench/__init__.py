"""Sigmill's benchmark: throughput, latency and CPU time of the pipeline, as shares of the HSM's own limit.

runner        quick and full runs, and single scenarios
alternation   rounds of two sides in turn, and the ratios of neighbours
session       one run: scratch directory, length of rounds, findings
scenarios/    what is measured, one family of rows per module
day/          a day of a thousand tenants in an hour; a run of its own
files/        a build's files: osslsigncode, the agent, `sigmill sign-file`; a run of its own
testbed/      Redis, workers and clients around the tokens of a run
load/         clients in processes of their own, closed and open loop
baseline/     stock arq on the same machine
queue/        microbenchmarks of the queue without an HSM
ceiling/      the module's own limit, measured in alternating rounds
hsm/          SoftHSM tokens, and the simulated network HSM
native/       C sources: signing loop and simulated HSM
measurement/  alternating rounds, CPU time, percentiles, the machine
capacity/     HSMs, cores and Redis shards for a number of signatures a day
report/       report.json and report.html

Must never import ``tests`` or ``ops``; ``queueing`` and ``workers`` never import it (apart from the command ``sigmill bench``).
"""
