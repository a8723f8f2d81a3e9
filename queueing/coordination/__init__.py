"""Coordination of workers through Redis, besides the queue: feeds, counters and publications.

backlog_caps      largest backlogs, for the submit script
key_directories   signed key directories, for clients
key_usage         digests that keys have signed in a period
record_heads      newest signed heads of the record's logs, for the hosts that write them, and for ``sigmill doctor``
redis_check       check of Redis, for ``sigmill doctor``
refused_pin_feed  PINs that tokens refused
stop_order_feed   signed stop orders, and the workers that apply them
worker_registry   workers that are alive

Must never import ``queueing.client``, ``queueing.broker`` or ``workers``.
"""
