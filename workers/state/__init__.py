"""State directory of a host: files that outlive its processes.

directory        the directory, and the lock of the worker that owns it
running_workers  running workers, and the outcome of their last reload
adopted_config   copies of the configuration adopted last
configuration_events  events of configurations that are new in force, for the log
stop_orders      signed stop orders
refused_pins     PINs that a token rejected
latest_time      latest time that lanes have seen
drained_tokens   tokens that an operator drained
log_usage        bytes of a day in the log, by tenant
forged_envelopes tenants in whose name envelopes were forged
token_claims     tokens that lanes use, by serial number

Must never import ``workers.config``, ``workers.lanes`` or anything that talks to Redis or an HSM.
"""
