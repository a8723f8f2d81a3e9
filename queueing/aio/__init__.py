"""Asyncio building blocks.

backoff         growing waits with jitter
coalescer       items added one by one, sent in batches
daemon_calls    blocking calls to the network
events          wait for an event, up to a time
growing_window  bound on work under way, larger while answers come soon
look_ups        look-ups of host names, of each one at a time
owned_tasks     tasks that end with their owner
runner          event loop of a command or process
single_flight   concurrent callers share one run of the same work

Must never import any other package of ``queueing`` but ``errors``.
"""
