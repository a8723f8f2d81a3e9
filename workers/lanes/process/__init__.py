"""Lane process.

lane             receives frames and answers them
login            PIN, module, token, login, sessions
chunk_execution  a chunk cut into runs for the session threads, and its answer
session_threads  one thread per session, recovery from HSM failures, watchdog of hanging calls
statements       origin statements of the service key
live_policy      configuration files and stop orders in force
unix_server      host-started lane that listens at a unix socket

Never imports ``workers.lanes.supervisor``, Redis or Prometheus.
"""
