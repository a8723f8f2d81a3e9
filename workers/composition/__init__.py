"""Composition of the signing service: makes every part and connects them; nothing else.

foundation  parts that most others work with, limits
processing  claim loop, pipeline, leases
background  tasks that run beside the claim loop
service     the service from these groups

Each part gets the objects that it works with. Must never import ``workers.cli`` or ``workers.worker``.
"""
