"""Scrubbing of the record: the files of all logs are read again, so that a rotten byte is found while a copy may still exist.

log_check  the files of one tenant's log, entry by entry
scrubber   rounds over all logs, in steps, for the sealer's loop

Nothing is repaired, and nothing is signed. Must never import ``workers.record.sealer`` or ``workers.record.sealing``.
"""
