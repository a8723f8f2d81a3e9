"""A day of a thousand tenants in an hour: the record is on, devices are simulated by their published rates.

curve        the day's curve, cut to its mean and its peak
tenants      sizes of the tenants, and a device for each
arrivals     times at which the tenants' builds ask
messages     plan and result of the load process
load         clients of all tenants, in a process of their own
processes    CPU and memory of processes that come and go, by group
observation  samples of a running testbed
events       a worker is killed, Redis fails over
rules        verdicts over the samples
results      a finished day, and what a signature cost
account      latency, CPU, memory and bytes as rows, thresholds and notes of a report
machines     500 million signatures a day on a list of machines
run          the whole day, and its report

Must never import ``tests`` or ``ops``. Run it by ``sigmill bench day``: it is not part of the full run.
"""
