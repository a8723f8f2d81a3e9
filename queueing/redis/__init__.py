"""Access to Redis: connections, Lua scripts, errors and access rights.

acl         rules of Redis users for tenants and workers
connection  connections to the primary: TLS, Sentinel, timeouts, retries
errors      translation of redis-py's errors
faults      reasons of those errors; a refused certificate ends the wait
pool        connection pools that close idle connections
scripts     Lua scripts by name (``lua/``), many in one round trip
send_once   round trip that is never repeated
sentinel    address of the primary, by all Sentinels

Must never import ``queueing.broker``, ``queueing.coordination`` or ``queueing.client``.
"""
