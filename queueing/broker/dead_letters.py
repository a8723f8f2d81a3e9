"""Dead letters: jobs that the service gave up on, with evidence, until an operator requeues or drops them.

Two rules make one, both with the error ``job.poisoned``: too many workers crashed over the job (``workers/pipeline/router.py``),
or too many lanes did (``workers/lanes/supervisor/lost_lane.py``). It is written in the same step as the job's result
(``queueing/redis/lua/commit.lua``), and holds the whole job. The two end differently: the result expires, while the letter
stays; and a tenant has at most 10,000 letters, beyond which further ones are dropped and only their results are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from queueing.protocol import keyspace
from queueing.protocol.jobs import decode_job
from queueing.redis import scripts
from queueing.redis.errors import raise_outage, redis_errors
from queueing.redis.script_answers import checked
from queueing.redis.scripts import Script, ScriptCall
from queueing.redis.values import Count, Readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

GRACE_MS: Final = 24 * 3600 * 1000
"""Time that a requeued job is kept: its envelope decides whether it is signed, or ends as expired."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letter of one job. Times in Unix ms; ``payload`` is the job as it was in the queue (arq's form).

    ``attempts`` were made in all; ``crashes`` of them ended with their worker, ``lane_ends``: exits of the lanes
    that the last worker gave it to. ``worker``: the one that gave up. No digest is in it but in ``payload``.
    """

    reason: str
    message: str
    at_ms: Count
    worker: str
    attempts: Count
    crashes: Count
    lane_ends: tuple[str, ...] = ()
    key: str = ""
    algorithm: str = ""
    client: str = ""
    digests: Count = 0
    enqueued_at_ms: Count = 0
    expires_at_ms: Count = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter in Redis: ``raw`` is compared when it is removed, so that a newer one stays."""

    tenant: str
    job_id: bytes
    raw: bytes
    letter: DeadLetter


class RequeueStatus(IntEnum):
    """Result of requeueing a dead letter."""

    GONE = 0
    QUEUED = 1
    ALREADY_QUEUED = 2


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DeadLetter)


def encode_letter(letter: DeadLetter) -> bytes:
    """The bytes that the commit script stores."""
    return _encoder.encode(letter)


async def letters_of(redis: Redis, tenants: Sequence[str]) -> Readable[StoredLetter]:
    """All dead letters of these tenants, oldest first: one round trip. What cannot be read is counted.

    Raises ``QueueUnavailable`` (retryable).
    """
    with redis_errors("read dead letters"):
        async with redis.pipeline(transaction=False) as pipe:
            for tenant in tenants:
                pipe.hgetall(keyspace.dead_letters(tenant))
            answers = await pipe.execute(raise_on_error=False)
        raise_outage(answers)
    stored = [
        (tenant, job_id, raw)
        for tenant, answer in zip(tenants, answers, strict=True)
        for job_id, raw in _items(answer)
    ]
    found = [
        StoredLetter(tenant, job_id, raw, letter)
        for tenant, job_id, raw in stored
        if (letter := _decoded(raw)) is not None
    ]
    found.sort(key=lambda each: each.letter.at_ms)
    return Readable(found, damaged=len(stored) - len(found))


async def requeue(redis: Redis, letters: Sequence[StoredLetter]) -> list[RequeueStatus]:
    """Put the jobs back into their queues, and reset their attempt counters; the answers are in order.

    The result that said ``job.poisoned`` goes, so that a client which asks again waits for the new one. Raises
    ``QueueUnavailable`` (retryable, and safe to repeat).
    """
    calls = [
        ScriptCall(
            Script.REQUEUE_DEAD_LETTER,
            (
                keyspace.queue(found.tenant),
                keyspace.claims(found.tenant),
                keyspace.dead_letters(found.tenant),
                keyspace.armed(found.tenant),
                keyspace.backlog(found.tenant),
            ),
            (
                keyspace.doorbell(found.tenant),
                found.tenant,
                found.job_id,
                found.raw,
                found.letter.payload,
                _time_to_live_ms(found.letter),
                max(found.letter.digests, 1),
            ),
        )
        for found in letters
    ]
    with redis_errors("requeue dead letters"):
        return [checked(answer, RequeueStatus) for answer in await scripts.run_each(redis, calls)]


async def drop(redis: Redis, letters: Sequence[StoredLetter]) -> list[bool]:
    """Remove the dead letters; whether each was there. Their results stay. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("drop dead letters"):
        async with redis.pipeline(transaction=False) as pipe:
            for found in letters:
                pipe.hdel(keyspace.dead_letters(found.tenant), found.job_id)  # type: ignore[arg-type]  # bytes are a field
            return [removed == 1 for removed in await pipe.execute()]


def _time_to_live_ms(letter: DeadLetter) -> int:
    return max(letter.expires_at_ms - letter.at_ms, 0) + GRACE_MS


def _items(answer: Any) -> list[tuple[bytes, bytes]]:
    return list(answer.items()) if isinstance(answer, dict) else []  # a foreign type there holds no letter


def _decoded(raw: bytes) -> DeadLetter | None:
    """The dead letter; None if it is damaged: not readable, or without its job."""
    try:
        letter = _decoder.decode(raw)
        decode_job(letter.payload)
    except Exception:  # noqa: BLE001 - damaged in whichever way
        return None
    return letter
