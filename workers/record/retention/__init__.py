"""Retention of the record: old volumes of a tenant's log are removed, and its tree stays whole.

minimum   the first entry of a log that is still there
clock     time that has passed for a record, whatever the host's clock said
marks     at which time of the record a log had which size
policy    how long entries are kept, as the worker tells the sealer

``workers.record.pruning`` decides by them. Must never import another package of ``workers``, nor the rest of ``workers.record``.
"""
