"""Check of Redis and of the rights of the connected user, for ``sigmill doctor``. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import MovedError, NoPermissionError, ResponseError

from queueing.config.addresses import with_port
from queueing.protocol import keyspace
from queueing.redis.cluster import ClusterRedis
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

_NO_SCRIPT: Final = "0" * 40
_OURS: Final = "sigmill:doctor"
_PROBES: Final = 64
"""Slots that are looked at; of two shards with equal parts one misses them all once in 2^64."""

NEEDED: Final[tuple[tuple[str, ...], ...]] = (
    ("TIME",),
    ("EXISTS", _OURS, f"{keyspace.JOB_PREFIX}doctor"),
    ("DEL", _OURS),  # there is none: it tests the right to write, and writes nothing
    ("EVALSHA", _NO_SCRIPT, "0"),
    ("SCRIPT", "EXISTS", _NO_SCRIPT),
    ("WAIT", "0", "1"),
    ("UNWATCH",),
    (
        "PUBLISH",
        keyspace.doorbell("doctor"),
        "doctor",
    ),  # a worker with a tenant of this name polls its queue once
)
"""One command of each kind that a worker sends (``queueing.redis.acl``); none of them changes anything."""

TOO_MUCH: Final[tuple[tuple[str, ...], ...]] = (
    ("CONFIG", "GET", "maxmemory-policy"),
    ("ACL", "WHOAMI"),
    ("EXISTS", "doctor:of-somebody-else"),
)
"""Commands that ``sigmill tenants acl --worker`` denies the workers' user, so that a stolen password does not grant them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReport:
    """Result of the check. ``info`` is Redis' INFO. ``skew_s``: its clock minus ours, give or take ``skew_error_s``.

    ``missing`` and ``excess``: commands that the user may not send and should, and the other way round. ``absent``:
    commands that this server does not have, as managed services take CONFIG and ACL away. ``other_shards``: it is part of a
    cluster, and other primaries have some of the slots.
    """

    info: Mapping[str, Any]
    skew_s: float
    skew_error_s: float
    missing: tuple[str, ...]
    excess: tuple[str, ...]
    absent: tuple[str, ...] = ()
    other_shards: bool = False


async def inspect_nodes(redis: Redis, clock_s: Callable[[], float] = time.time) -> dict[str, RedisReport]:
    """Inspect Redis, and in a cluster each of its nodes: reports by address, '' for the one Redis.

    Raises ``QueueUnavailable`` (retryable) where any of them does not answer.
    """
    if not isinstance(redis, ClusterRedis):
        return {"": await inspect(redis, clock_s)}
    with redis_errors("list the nodes of the cluster"):
        members = await redis.topology.members()
    return {with_port(*at): await inspect(redis.topology.node(at), clock_s) for at in members}


async def inspect(redis: Redis, clock_s: Callable[[], float] = time.time) -> RedisReport:
    """Inspect Redis, in about a dozen round trips. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("inspect Redis"):
        await redis.ping()
        before = clock_s()
        seconds, microseconds = await redis.time()
        after = clock_s()
        info = await redis.info()
        needed = {_name(words): await _answer(redis, words) for words in NEEDED}
        too_much = {_name(words): await _answer(redis, words) for words in TOO_MUCH}
        other_shards = bool(info.get("cluster_enabled")) and await _has_other_shards(redis)
    return RedisReport(
        info=info,
        skew_s=int(seconds) + int(microseconds) / 1e6 - (before + after) / 2,
        skew_error_s=(after - before) / 2,
        missing=tuple(name for name, answer in needed.items() if answer is not _Answer.ALLOWED),
        excess=tuple(name for name, answer in too_much.items() if answer is _Answer.ALLOWED),
        absent=tuple(name for name, answer in (needed | too_much).items() if answer is _Answer.UNKNOWN),
        other_shards=other_shards,
    )


async def _has_other_shards(redis: Redis) -> bool:
    """Whether some of many tenants would be elsewhere. It needs no right to ask for the slots, which a worker may lack."""
    async with redis.pipeline(transaction=False) as pipe:
        for i in range(_PROBES):
            pipe.exists(keyspace.queue(f"doctor-{i}"))
        answers = await pipe.execute(raise_on_error=False)
    return any(isinstance(answer, MovedError) for answer in answers)


class _Answer(Enum):
    """Answer to a command: it was carried out or failed, the user may not send it, or the server does not have it."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


async def _answer(redis: Redis, words: tuple[str, ...]) -> _Answer:
    """The answer to this command. Redis looks a command up before it looks at the user's rights."""
    try:
        await redis.execute_command(*words)  # type: ignore[no-untyped-call]
    except NoPermissionError:
        return _Answer.DENIED
    except ResponseError as error:
        return _Answer.UNKNOWN if "unknown command" in str(error).lower() else _Answer.ALLOWED
    return _Answer.ALLOWED


def _name(words: tuple[str, ...]) -> str:
    return " ".join(words[:2]) if words[0] in {"SCRIPT", "CONFIG", "ACL"} else words[0]
