"""Counters of what keys have signed in a period, over all workers. Whoever writes to Redis can set them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from queueing import keyspace
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Account:
    """What one key has signed in one period; kept for two of them."""

    tenant: str
    key: str
    period: int
    period_s: int

    @property
    def name(self) -> str:
        """The counter's key in Redis."""
        return keyspace.spent(self.tenant, self.key, self.period_s, self.period)


async def add(redis: Redis, amounts: Mapping[Account, int]) -> list[int]:
    """Add digests, or take them back with a negative number: what each counter says then. One round trip.

    A foreign type under a counter is removed, and the count begins anew. Raises ``QueueUnavailable``.
    """
    try:
        answers = await _add(redis, amounts)
        broken = [a for a, answer in zip(amounts, answers, strict=True) if isinstance(answer, ResponseError)]
        if broken:
            await redis.delete(*(account.name for account in broken))
            return [int(answer) for answer in await _add(redis, amounts)]
        return [int(answer) for answer in answers]
    except (RedisError, OSError, TypeError, ValueError) as error:
        raise QueueUnavailable(f"{type(error).__name__}: {error}") from error


async def _add(redis: Redis, amounts: Mapping[Account, int]) -> Sequence[Any]:
    async with redis.pipeline(transaction=False) as pipe:
        for account, digests in amounts.items():
            pipe.incrby(account.name, digests)
            pipe.expire(account.name, 2 * account.period_s)
        return (await pipe.execute(raise_on_error=False))[::2]
