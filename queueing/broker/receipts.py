"""Receipts on their way from the workers to the clients: one value per job that asked for them, as long as its result is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError

from queueing.errors import ReceiptMissing
from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class JobReceipt:
    """Proof of a job's outcome (``queueing.transparency.job_proofs``, encoded).

    ``released``: the outcome is the one that was released; else another may be, whose receipt is not replaced.
    """

    job_id: str
    proof: bytes
    released: bool = True


async def publish(redis: Redis, receipts: Sequence[JobReceipt], *, retention_ms: int) -> None:
    """Store receipts of one tenant: one round trip. To publish again is harmless. Raises ``QueueUnavailable``."""
    with redis_errors("publish receipts"):
        async with redis.pipeline(transaction=False) as pipe:
            for receipt in receipts:
                key = keyspace.receipt(receipt.job_id)
                pipe.set(key, receipt.proof, px=retention_ms, nx=not receipt.released)
            await pipe.execute()


async def fetch(redis: Redis, job_ids: Sequence[str]) -> list[bytes | None]:
    """Receipts of jobs of one tenant, unverified; None where there is none. One round trip.

    Raises ``QueueUnavailable``, or ``ReceiptMissing`` where this Redis user may not read them.
    """
    with redis_errors("read receipts"):
        try:
            answers = await redis.mget([keyspace.receipt(job_id) for job_id in job_ids])
        except NoPermissionError:
            raise ReceiptMissing(
                "the tenant's Redis user may not read receipts: its rights are of an earlier version; the operator sets them"
                " with `sigmill tenants acl`"
            ) from None
        return checked_each(answers, list[bytes | None], len(job_ids))
