"""Cancellation of queued jobs by their own client: removed as long as no worker has claimed them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from queueing.broker.job_values import CancelStatus
from queueing.errors import JobCancelled, SigningError
from queueing.protocol import keyspace
from queueing.protocol.envelope import read_unverified
from queueing.protocol.grants.owners import owner_of
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, decode_job, encode_result
from queueing.redis import scripts
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked_each
from queueing.redis.scripts import Script, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

_RETENTION_MS: Final = 3_600_000
"""Time for which a process that waits for the job can learn that it was cancelled."""


_STATUS: Final = {0: CancelStatus.CLAIMED, 1: CancelStatus.CANCELLED, 2: CancelStatus.NOT_QUEUED}


async def cancel(
    redis: Redis, tenant: str, owner: str, job_ids: Sequence[str], *, now_ms: int
) -> list[CancelStatus]:
    """Cancel the owner's jobs (``owner_of``) among these: one status each, in order. Two round trips.

    Who waits for a cancelled job gets ``JobCancelled``; submitting it again is allowed. Raises ``QueueUnavailable``.
    """
    with redis_errors("read jobs"):
        payloads = await redis.mget([keyspace.job(job_id) for job_id in job_ids]) if job_ids else []
    statuses = [
        CancelStatus.NOT_QUEUED if payload is None else _owner_status(payload, owner) for payload in payloads
    ]
    ours = [i for i, status in enumerate(statuses) if status is CancelStatus.CANCELLED]
    if not ours:
        return statuses
    keys = [keyspace.queue(tenant), keyspace.claims(tenant), keyspace.backlog(tenant)]
    args: list[str | bytes | int | float] = [_RETENTION_MS]
    for i in ours:
        job_id = job_ids[i]
        keys += [keyspace.job(job_id), keyspace.result(job_id)]
        args += [
            job_id,
            keyspace.IN_PROGRESS_PREFIX + job_id,
            payloads[i],
            _result(tenant, job_id, now_ms),
        ]
    with redis_errors("cancel jobs"):
        (answer,) = await scripts.run_each(redis, [ScriptCall(Script.CANCEL, tuple(keys), tuple(args))])
        removals = checked_each(answer, list[Literal[0, 1, 2]], len(ours))
    for i, removal in zip(ours, removals, strict=True):
        statuses[i] = _STATUS[removal]
    return statuses


def _owner_status(payload: bytes, owner: str) -> CancelStatus:
    """Whether the job may be cancelled by this owner, as far as its unverified envelope says."""
    try:
        envelope = read_unverified(decode_job(payload).sealed).envelope
    except SigningError:
        return CancelStatus.FOREIGN
    return CancelStatus.CANCELLED if owner_of(envelope) == owner else CancelStatus.FOREIGN


def _result(tenant: str, job_id: str, now_ms: int) -> bytes:
    """``again``: nothing was signed, so the same job may be submitted again."""
    return encode_result(
        ArqResult(
            k=ResultHints(again=1),
            et=now_ms,
            s=False,
            r=WireError.of(JobCancelled()),
            st=now_ms,
            ft=now_ms,
            q=keyspace.queue(tenant),
            id=job_id,
        )
    )
