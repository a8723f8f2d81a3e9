"""Start, reload and end of a worker.

heartbeat         liveness of the event loop
reload            reads, checks and adopts changed configuration files
shutdown          deadline of the shutdown
log_scrubber      reads closed segments of the log again, and tells what is damaged
startup_recovery  continues the log of a former process

Must never import ``workers.intake``, ``workers.pipeline``, ``workers.background`` or ``workers.service``.
"""
