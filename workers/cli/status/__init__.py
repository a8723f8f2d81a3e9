"""Commands that show the state of jobs, workers and the cluster.

status   ``sigmill status``: jobs for their client; else one of the next two
jobs     jobs for operators, from Redis and this host's write-ahead log
record_history  history of jobs from the record, where the log has them no more
cluster  the cluster as it is in Redis
text     state of a job as a short text
workers  ``sigmill workers``
top      ``sigmill top``

It never imports `workers.token_admin` or `workers.hsm`: no token is touched.
"""
