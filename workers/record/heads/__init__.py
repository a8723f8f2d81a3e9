"""Heads of this host's logs, as they are kept outside of it: in Redis.

certified   newest checkpoint of a log with the statement about its key, read from its files
comparison  a head that was certified before, held against the log that is here
set_back    order of the worker to its sealer: this record is an older copy, begin a new one

Must never import anything that talks to Redis.
"""
