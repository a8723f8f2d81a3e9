"""Write-ahead log after the fact: the history of jobs, also beside a running worker; sealing and archiving of a closed log.

job_history  events of a job, from the records of the log
seal         digests of all segments of a log in which nothing is open
archive      verified copy of a sealed log

The tamper-evident log of each tenant (Merkle tree), which follows the same records, is ``workers.record``.

Must never import ``workers.lanes``, ``workers.pipeline`` or anything that talks to Redis.
"""
