"""Asyncio building blocks.

backoff        growing waits with jitter
events         wait for an event, up to a time
owned_tasks    tasks that end with their owner
runner         event loop of a command
single_flight  concurrent callers share one run of the same work

Must never import any other package of ``queueing`` but ``errors``.
"""
