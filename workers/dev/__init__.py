"""A private stack with throwaway keys, for the demo, for `sigmill dev` and for trying things out.

child         a process that does not outlive us
redis_server  a redis-server of our own
softhsm       software tokens, one directory and configuration each
recipe        the tenants and keys of the stack
files         its configuration files
stack         all of it, started and stopped
readable_files, checks, progress, demo   the demonstration: `python -m workers.dev.demo`
"""
