"""Write-ahead log at rest: reading the history of jobs, sealing and archiving.

job_history  events of a job, from the records of the log
seal         digests of all segments of a log in which nothing is open
archive      verified copy of a sealed log

Any other reader of the log belongs here too, such as a tamper-evident log per tenant (Merkle tree): it follows the records
(``workers.journal.records``) in the segments (``workers.journal.segments``); a ``ReleasedRecord`` says what was published.
Its formats are in ``queueing.transparency``.

Must never import ``workers.lanes``, ``workers.pipeline`` or anything that talks to Redis.
"""
