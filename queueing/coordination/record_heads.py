"""Newest signed heads of the record's logs in Redis: one value per log, which a host compares with its own files.

Values are read by their first bytes only, so that a huge one costs no memory. They are not verified here
(``queueing.transparency.signed_heads``).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.redis import scripts
from queueing.redis.cluster import ClusterRedis
from queueing.redis.errors import is_foreign_value, redis_errors
from queueing.redis.script_answers import checked
from queueing.redis.scripts import Script, ScriptCall
from queueing.transparency.signed_heads import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any

    from redis.asyncio import Redis

KEEP_MS: Final = 800 * 86_400_000
"""Longer than the record's least retention: a copy of a state directory that is older has no entries left to fork."""

FOREIGN: Final = b"\xc1"
"""Stands for a value of a foreign type. No head begins with it: msgpack does not use this byte."""

_SEEN_BYTES: Final = MAX_HEAD_BYTES + 1
"""Bytes that are read of a value: one more than a head may have."""

MOST_KEYS: Final = 10_000_000
"""Keys of a node that are looked at: some ten seconds of Redis, in steps of a fraction of a millisecond."""

MOST_HEADS: Final = 250_000
"""Keys of heads that are kept in memory: 5,000 tenants on 50 hosts."""

_SCAN_COUNT: Final = 1000
_READ_AT_ONCE: Final = 128
_KEY: Final = re.compile(r"sigmill:\{([^{}]+)\}:head:([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class HeadUpdate:
    """New head of a log, and the value that it replaces: as ``read_heads`` has seen it, empty where there was none."""

    key: str
    head: bytes
    seen: bytes


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """Value of a head in Redis by tenant and name of the record, not verified. ``left_ms``: time after which Redis removes it."""

    tenant: str
    name: str
    value: bytes
    left_ms: int


async def all_heads(redis: Redis) -> list[PublishedHead]:
    """The heads of all tenants and records, by key: ``each_heads`` at once, for a person who asks. Raises ``QueueUnavailable``."""
    return [head async for part in each_heads(redis) for head in part]


async def each_heads(redis: Redis, *, pause_s: float = 0.0) -> AsyncIterator[list[PublishedHead]]:
    """The heads of all tenants and records, by key, some at a time. Looks at each key of Redis, at most ``MOST_KEYS``.

    ``pause_s``: between two steps, so that others of this Redis are not held up. Of more than ``MOST_HEADS`` heads the rest is left out.
    Raises ``QueueUnavailable`` (retryable).
    """
    named = [found for key in sorted(await _head_keys(redis, pause_s)) if (found := _KEY.fullmatch(key))]
    for at in range(0, len(named), _READ_AT_ONCE):
        with redis_errors("look for heads of the record"):
            part = await _published(redis, named[at : at + _READ_AT_ONCE])
        yield part
        await asyncio.sleep(pause_s)


async def _head_keys(redis: Redis, pause_s: float) -> set[str]:
    keys: set[str] = set()
    with redis_errors("look for heads of the record"):
        nodes = [redis]
        if isinstance(redis, ClusterRedis):
            nodes = [redis.topology.node(address) for address in await redis.topology.members()]
        for node in nodes:
            cursor, looked = 0, 0
            while (cursor or not looked) and looked < MOST_KEYS and len(keys) < MOST_HEADS:
                cursor, some = await node.scan(cursor, match=keyspace.RECORD_HEADS, count=_SCAN_COUNT)
                keys |= {key.decode("utf-8", "replace") for key in some}
                looked += _SCAN_COUNT
                await asyncio.sleep(pause_s)
    return keys


async def _published(redis: Redis, named: Sequence[re.Match[str]]) -> list[PublishedHead]:
    async with redis.pipeline(transaction=False) as pipe:
        for each in named:
            pipe.getrange(each[0], 0, _SEEN_BYTES - 1)
            pipe.pttl(each[0])
        answers = await pipe.execute(raise_on_error=False)
    pairs = zip(named, answers[::2], answers[1::2], strict=True)
    return [
        PublishedHead(each[1], each[2], value, left_ms)
        for each, value, left_ms in pairs
        if isinstance(value, bytes) and isinstance(left_ms, int)
    ]


async def read_heads(redis: Redis, keys: Sequence[str]) -> list[bytes | QueueUnavailable]:
    """First bytes of these values, empty where there is none, or the error of its shard in its place: one round trip.

    Raises ``QueueUnavailable`` where no shard answers.
    """
    if not keys:
        return []
    with redis_errors("read heads of the record"):
        async with redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.getrange(key, 0, _SEEN_BYTES - 1)
            answers = await pipe.execute(raise_on_error=False)
    return [_value(answer) for answer in answers]


async def replace_heads(redis: Redis, updates: Sequence[HeadUpdate]) -> list[bool | QueueUnavailable]:
    """Replace heads by newer ones; False where another value is there than was seen. One round trip.

    Raises ``QueueUnavailable`` where no shard answers.
    """
    calls = [
        ScriptCall(
            Script.REPLACE_RECORD_HEAD,
            (update.key,),
            (update.head, _sha1(update.seen), _SEEN_BYTES, KEEP_MS),
        )
        for update in updates
    ]
    if not calls:
        return []
    with redis_errors("publish heads of the record"):
        answers = await scripts.run_each(redis, calls)
    return [_replaced(answer) for answer in answers]


def _value(answer: Any) -> bytes | QueueUnavailable:
    if isinstance(answer, RedisError) and is_foreign_value(answer):
        return FOREIGN
    try:
        with redis_errors("read a head of the record"):
            return checked(answer, bytes)[:_SEEN_BYTES]
    except QueueUnavailable as error:
        return error


def _replaced(answer: Any) -> bool | QueueUnavailable:
    try:
        with redis_errors("publish a head of the record"):
            return checked(answer, int) == 1
    except QueueUnavailable as error:
        return error


def _sha1(value: bytes) -> str:
    return hashlib.sha1(value, usedforsecurity=False).hexdigest()
