"""Microbenchmarks of the queue, without an HSM.

backlog        cost of a claim and a commit beside a backlog
rate_accuracy  how exactly a tenant's rate limit is kept by many workers
redis_probe    INFO of Redis, and a connection for microbenchmarks

Must never import ``workers`` apart from the private Redis of ``workers.dev``.
"""
