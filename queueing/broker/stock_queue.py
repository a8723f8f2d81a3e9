"""arq's own queue, for stock jobs: removal of values that stock arq cannot read.

Stock arq takes every value under its keys for one of its own: a job id that is not UTF-8, a due time of minus infinity
or a key of a foreign type ends its loop, again at each restart. Every user who can write to Redis can write such values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

MOST_ID_BYTES: Final = 1024
"""arq's own ids have 32 bytes; a longer one would be copied into each log line and result of its job."""

ABORTED: Final = "arq:abort"
"""Sorted set of the job ids that a producer wants aborted (``arq.constants.abort_jobs_ss``)."""


def is_readable_id(job_id: bytes) -> bool:
    """Whether stock arq can read this job id."""
    try:
        job_id.decode()
    except UnicodeDecodeError:
        return False
    return len(job_id) <= MOST_ID_BYTES


@dataclass(frozen=True, slots=True)
class StockQueue:
    """One stock queue. Its methods raise errors of Redis as they are, as arq's loop around them does."""

    redis: Redis
    name: str

    async def readable(self, job_ids: Sequence[bytes]) -> list[bytes]:
        """Return the ids that stock arq can read, and remove the others from the queue: at most two round trips."""
        if not job_ids:
            return []
        due: list[float | None] = await self.redis.zmscore(self.name, list(job_ids))  # type: ignore[arg-type]
        bad = [
            job_id
            for job_id, due_ms in zip(job_ids, due, strict=True)
            if not is_readable_id(job_id) or (due_ms is not None and not math.isfinite(due_ms))
        ]
        if bad:
            await self.redis.zrem(self.name, *bad)
        return [job_id for job_id in job_ids if job_id not in bad]

    async def remove_foreign_keys(self) -> int:
        """Remove the queue, or the set of aborted jobs, where it has a foreign type; returns how many were removed."""
        removed = 0
        for key in (self.name, ABORTED):
            if await self.redis.type(key) not in {b"zset", b"none"}:
                removed += await self.redis.delete(key)
        return removed

    async def remove_unreadable_aborts(self) -> int:
        """Remove ids that stock arq cannot read from the set of aborted jobs; returns how many were removed."""
        listed: list[bytes] = await self.redis.zrange(ABORTED, 0, -1)
        bad = [job_id for job_id in listed if not is_readable_id(job_id)]
        return int(await self.redis.zrem(ABORTED, *bad)) if bad else 0
