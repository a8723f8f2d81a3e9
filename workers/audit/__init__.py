"""Write-ahead log at rest: reading the history of jobs, sealing and archiving.

job_history  events of a job, from the records of the log
seal         digests of all segments of a log in which nothing is open
archive      verified copy of a sealed log

Must never import ``workers.lanes``, ``workers.pipeline`` or anything that talks to Redis.
"""
