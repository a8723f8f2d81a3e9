"""Integrity of a tenant's log on this host: damage in its files, found by its own hashes.

blocks  entries of a block of 256 held against its hashes

Nothing is repaired, and nothing is signed. Must never import ``workers.record.bundle``, ``workers.record.sealer`` or ``workers.record.sealing``.
"""
