"""The demonstration: ``python -m workers.dev.demo``.

__main__         the run: hash files, start the stack, sign, verify, stop, write the summary
sample_files     SHA-256 of the files below /usr/bin and /usr/lib
tenant           signing and verification for one tenant
progress         progress line on standard error
summary          counts per tenant and their totals
stray_processes  detection of processes that outlive the run

It never imports `workers.cli`.
"""
