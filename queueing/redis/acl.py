"""Redis users by least right (ACL SETUSER of Redis 7): one per tenant for its clients, and one for workers.

A tenant's user reaches its own keys only, and of those it may not write what the workers decide: the directory,
caps, rate limiter, hindrance, fence, leases and receipts. Scripts run with the caller's rights, so the submit script needs each
command that it calls; no EVAL, no SCRIPT LOAD: the workers load the scripts.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from queueing.protocol import keyspace
from queueing.redis.cluster import members_of
from queueing.redis.errors import redis_errors
from queueing.redis.scripts import Script, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

_CLIENT: Final = "ping xread xtrim del exists zmscore mget get select wait"
"""Commands of ``queueing.client``: replies, lookups, the key directory, the accept level (which needs SET too)."""

_SUBMIT: Final = "time type strlen hstrlen zcard hmget hset hsetnx set zadd zscore publish hdel unlink"
"""Further commands that submit.lua calls."""

_CANCEL: Final = "zrem hget zcount"
"""Further commands that cancel.lua calls; and ZCOUNT, for the place of a job in the queue."""

_WORKER: Final = (
    "+@read +@write +@transaction +@pubsub +@connection +evalsha +script|load +script|exists +time +wait +info"
    " -@dangerous +info"
)


_CLUSTER: Final = "+cluster|slots +asking"
"""Further commands of a client of a cluster."""


def tenant_rules(tenant: str, password_sha256: str | None, *, cluster: bool = False) -> list[str]:
    """The rules of the user of this tenant; without a password no login as this user succeeds."""
    tag = f"{{{tenant}}}"
    writable = [
        keyspace.queue(tenant),
        keyspace.armed(tenant),
        keyspace.claims(tenant),
        keyspace.backlog(tenant),
        keyspace.mark(tenant),
        f"{keyspace.reply_prefix(tenant)}*",
        f"{keyspace.JOB_PREFIX}{tag}*",
        f"{keyspace.RESULT_PREFIX}{tag}*",
    ]
    readable = [
        keyspace.directory(tenant),
        keyspace.caps(tenant),
        keyspace.limiter(tenant),
        keyspace.hindrance(tenant),
        f"{keyspace.IN_PROGRESS_PREFIX}{tag}*",
        f"{keyspace.RECEIPT_PREFIX}{tag}*",
    ]
    return [
        "reset",
        "on",
        *_password(password_sha256),
        *(f"~{key}" for key in writable),
        *(f"%R~{key}" for key in readable),
        f"&{keyspace.doorbell(tenant)}",
        "-@all",
        f"+evalsha|{digest_of(Script.SUBMIT)}",
        f"+evalsha|{digest_of(Script.CANCEL)}",
        *(f"+{command}" for command in (*_CLIENT.split(), *_SUBMIT.split(), *_CANCEL.split())),
        *(_CLUSTER.split() if cluster else ()),
    ]


def worker_rules(password_sha256: str | None, *, cluster: bool = False) -> list[str]:
    """The rules of the workers' user: all of our keys and arq's, and no administration."""
    return [
        "reset",
        "on",
        *_password(password_sha256),
        "~sigmill:*",
        "~arq:*",
        f"&{keyspace.DOORBELL_PATTERN}",  # PSUBSCRIBE must be of the very pattern that is allowed
        f"&{keyspace.ORDERS_BELL}",
        "-@all",
        *_WORKER.split(),
        *(_CLUSTER.split() if cluster else ()),
    ]


def password_sha256(password: str) -> str:
    """Hash by which Redis stores a password."""
    return hashlib.sha256(password.encode()).hexdigest()


async def set_user(redis: Redis, user: str, rules: Sequence[str]) -> None:
    """Set the user as these rules say, in a cluster on each node. Raises ``QueueUnavailable``, also where Redis refuses a
    rule; then some nodes may have it.
    """
    with redis_errors(f"set the Redis user {user!r}"):
        for node in await members_of(redis):
            await node.execute_command("ACL", "SETUSER", user, *rules)  # type: ignore[no-untyped-call]


def _password(sha256: str | None) -> list[str]:
    return [] if sha256 is None else [f"#{sha256}"]
