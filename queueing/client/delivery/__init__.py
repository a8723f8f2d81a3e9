"""Delivery between a client and the queue: jobs out, results in.

lost_jobs     lookup of unanswered jobs, and resubmission of lost ones
pending_jobs  table of the jobs that this client waits for
reply_stream  results as they are committed
submitter     batches of jobs, retried until the queue has them
transport     the four together

Must never import ``queueing.client`` above this folder.
"""
