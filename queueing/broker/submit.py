"""Producer's side of the queue: many envelopes accepted in one round trip, each at most once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from queueing.broker.submissions import Receipt, Receipts, RemainingCapacity, SubmitStatus
from queueing.errors import from_reason
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobHints, encode_job
from queueing.protocol.priorities import head_start_ms
from queueing.redis import scripts
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked, checked_each, malformed
from queueing.redis.scripts import Script, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from queueing.broker.submissions import Submission
    from queueing.config.accept_level import ReplicaWait

GRACE_MS: Final = 24 * 3600 * 1000
"""A job's key outlives its envelope by a day, so an expired job still ends with an answer."""


class _SubmitReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer of lua/submit.lua, in its order; -1: no cap."""

    replies: list[list[bytes | int]]
    room_digests: int
    room_bytes: int
    budget_left: int


async def submit(
    redis: Redis,
    tenant: str,
    submissions: Sequence[Submission],
    *,
    now_ms: int,
    wait: ReplicaWait | None = None,
) -> Receipts:
    """Hand over jobs of one tenant: one round trip, one receipt each, in order.

    ``wait``: for the replicas that must have the jobs, in the same round trip; without them they are unconfirmed.
    Raises ``QueueUnavailable`` (retryable): then nothing is known, and submitting the same again is safe,
    because the job id is the idempotency key.
    """
    args: list[str | bytes | int | float] = [
        keyspace.doorbell(tenant),
        tenant,
        keyspace.caps(tenant),
        keyspace.limiter(tenant),
    ]
    for job in submissions:
        digests = len(job.envelope.digests)
        hints = JobHints(
            n=digests,
            alg=job.envelope.algorithm,
            h=job.content,
            re=job.reply_id,
            c=job.envelope.client,
            rc=int(job.receipt),
        )
        ttl_ms = max(job.envelope.expires_at_ms - now_ms, 0) + GRACE_MS
        payload = encode_job(job.sealed, hints, now_ms)
        args += [job.job_id, payload, job.content, ttl_ms, digests, head_start_ms(job.priority)]
    keys = tuple(
        key(tenant)
        for key in (
            keyspace.queue,
            keyspace.armed,
            keyspace.claims,
            keyspace.backlog,
        )
    )
    with redis_errors("submit jobs"):
        (answer,), (confirmed,) = await scripts.run_confirmed(
            redis, [ScriptCall(Script.SUBMIT, keys, tuple(args))], wait
        )
        reply = checked(answer, _SubmitReply)
        receipts = [
            _receipt(each, confirmed=confirmed)
            for each in checked_each(reply.replies, list[list[bytes | int]], len(submissions))
        ]
    return Receipts(
        receipts,
        RemainingCapacity(
            backlog_digests=_capped(reply.room_digests),
            backlog_bytes=_capped(reply.room_bytes),
            budget_digests=_capped(reply.budget_left),
        ),
    )


def _capped(left: int) -> int | None:
    return None if left < 0 else left


def _receipt(reply: list[bytes | int], *, confirmed: bool) -> Receipt:
    match reply:
        case [b"refused", bytes(reason), int(wait_ms)]:
            refusal = from_reason(reason.decode(errors="replace"), retry_after_s=wait_ms / 1000)
            return Receipt(SubmitStatus.REFUSED, refusal=refusal)
        case [b"done", bytes(result)]:
            return Receipt(SubmitStatus.DONE, result, confirmed=confirmed)
        case [b"accepted" | b"queued" | b"conflict" as status]:
            return Receipt(SubmitStatus(status.decode()), confirmed=confirmed)
        case _:
            raise malformed("no such reply to a submitted job")
