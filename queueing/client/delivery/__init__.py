"""Delivery between a client and the queue: jobs out, results in.

lost_jobs     lookup of unanswered jobs, and resubmission of lost ones
pending_jobs  table of the jobs that this client waits for
queue_access  interface to the queue, behind which Redis and a relay stand
redis_access  access to the queue in Redis
relay_access  access to the queue through a relay
relay_connection  HTTPS to a relay
relay_messages  messages between client and relay
relay_tls       TLS files of the client, read again when they change
reply_stream  results as they are committed
result_polls  long polls at a relay
submitter     batches of jobs, retried until the queue has them
transport     sending and receiving together

Must never import ``queueing.client`` above this folder.
"""
