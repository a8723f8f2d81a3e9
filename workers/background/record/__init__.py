"""Background tasks of the record: what its sealer, a process without Redis and token, needs of the worker.

head_publisher     newest certified heads of the logs, to Redis
lost_records       records of this host that Redis knows, and that are not here any more
origin_check       logs held against their heads in Redis, and a new record ordered where one has gone back
receipt_publisher  receipts that the sealer has made, to Redis
record_monitor     metrics of the record, from its sealer's status
sealer_process     the sealer as a child of the worker
statement_signer   has the keys of the record's checkpoints certified

Must never import ``workers.intake``, ``workers.pipeline``, ``workers.composition`` or ``workers.service``.
"""
