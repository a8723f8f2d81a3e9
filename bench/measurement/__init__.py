"""Measurement: CPU time, latency histograms, and the state of the machine.

cpu           CPU time per signature by process group
machine       what the machine is, and whether it was busy with other work
percentiles   latency histogram
procfs        /proc, as numbers with units

Must never import the service (``workers``) or anything that starts a process.
"""
