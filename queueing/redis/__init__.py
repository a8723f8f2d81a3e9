"""Access to Redis: connections, Lua scripts, errors and access rights.

acl               rules of Redis users for tenants and workers
cluster           client of a Redis Cluster, with the interface of the client of a single Redis
cluster_topology  primary of each hash slot, and pools of the nodes
command_keys      key of a command, for the choice of its node
connection        connections to the primary: TLS, Sentinel, Cluster, timeouts, retries
errors            translation of redis-py's errors
faults            reasons of redis-py's errors, and those that a retry cannot change
pool              connection pools that close idle connections
rotation          password and TLS files, read again when they change
script_answers    answers of Lua scripts, checked and typed
scripts           Lua scripts by name (``lua/``), many in one round trip
send_once         round trip that is never repeated
sentinel          address of the primary, by all Sentinels
tls_probe         whether a Redis that does not answer speaks TLS
values            values that Redis returns: counts, and items that cannot be read

Must never import ``queueing.broker``, ``queueing.coordination`` or ``queueing.client``.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Final

_UNUSED: Final = "jwt"
"""PyJWT: redis-py imports it for tokens of Entra ID, which nothing here uses. With the half of ``cryptography`` that it
needs it is a seventh of what a command loads."""


def _import_redis() -> None:
    """Import redis-py with an empty module in the place of PyJWT. Who imports PyJWT itself gets it, before or after."""
    if "redis" in sys.modules or _UNUSED in sys.modules:
        return
    sys.modules[_UNUSED] = ModuleType(_UNUSED)
    try:
        import_module("redis.asyncio")
    finally:
        del sys.modules[_UNUSED]


_import_redis()
