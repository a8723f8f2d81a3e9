"""Gaps of the write-ahead log, as the logs of tenants are told of them.

told     entries about gaps: in each log that is there, and at the beginning of each that follows
telling  log events about gaps and skipped records, each place once

Must never import ``workers.record.bundle``, ``workers.record.sealer`` or ``workers.record.sealing``.
"""
