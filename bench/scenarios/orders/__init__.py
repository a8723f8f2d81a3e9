"""Scenarios of an operator's orders: the time from an order until all workers obey it.

stop_orders  time from a stop order until all workers have confirmed it
version_ends time from the end of a key version by command to its last signature

Must never import ``bench.runner``.
"""
