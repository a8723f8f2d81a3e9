"""Newest signed heads of the record's logs in Redis: one value per log, which a host compares with its own files.

Values are read by their first bytes only, so that a huge one costs no memory. They are not verified here
(``queueing.transparency.signed_heads``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from queueing.errors import QueueUnavailable
from queueing.redis import scripts
from queueing.redis.errors import is_foreign_value, redis_errors
from queueing.redis.script_answers import checked
from queueing.redis.scripts import Script, ScriptCall
from queueing.transparency.signed_heads import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from redis.asyncio import Redis

KEEP_MS: Final = 800 * 86_400_000
"""Longer than the record's least retention: a copy of a state directory that is older has no entries left to fork."""

FOREIGN: Final = b"\xc1"
"""Stands for a value of a foreign type. No head begins with it: msgpack does not use this byte."""

_SEEN_BYTES: Final = MAX_HEAD_BYTES + 1
"""Bytes that are read of a value: one more than a head may have."""


@dataclass(frozen=True, slots=True)
class HeadUpdate:
    """New head of a log, and the value that it replaces: as ``read_heads`` has seen it, empty where there was none."""

    key: str
    head: bytes
    seen: bytes


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
