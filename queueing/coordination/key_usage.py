"""Counters of the digests that keys have signed in a period, over all workers. A writer to Redis can reset them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queueing.protocol import keyspace
from queueing.redis.errors import REDIS_ERRORS, is_foreign_value, unavailable
from queueing.redis.send_once import Command, send_once

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis.asyncio import Redis

    from queueing.errors import QueueUnavailable


@dataclass(frozen=True, slots=True)
class UsagePeriod:
    """Counter of one key in one period; kept for two periods."""

    tenant: str
    key: str
    period: int
    period_s: int

    @property
    def name(self) -> str:
        """The counter's key in Redis."""
        return keyspace.key_usage(self.tenant, self.key, self.period_s, self.period)


async def increment(
    redis: Redis, amounts: Mapping[UsagePeriod, int]
) -> dict[UsagePeriod, int | QueueUnavailable]:
    """Add digests, or subtract them with a negative number; returns each counter's new value. Raises nothing.

    One round trip, sent once. Where Redis did not take an amount, its ``QueueUnavailable`` is in the place of the
    counter; with ``perhaps_done`` it may have taken it. A foreign value under a counter is removed, and that count
    starts from 0, with a second round trip.
    """
    answers = await _increment(redis, amounts)
    foreign = {period: n for period, n in amounts.items() if is_foreign_value(answers[period])}
    if foreign:
        answers |= await _increment(redis, foreign, reset=foreign)
    return {
        period: unavailable("count what a key has signed", answer)
        if isinstance(answer, Exception)
        else answer
        for period, answer in answers.items()
    }


async def _increment(
    redis: Redis, amounts: Mapping[UsagePeriod, int], *, reset: Collection[UsagePeriod] = ()
) -> dict[UsagePeriod, Any]:
    commands: list[Command] = [("DEL", period.name) for period in reset]
    for period, digests in amounts.items():
        commands.append(("INCRBY", period.name, digests))
        commands.append(("EXPIRE", period.name, 2 * period.period_s))
    try:
        answers = await send_once(redis, commands)
    except REDIS_ERRORS as error:
        return dict.fromkeys(amounts, error)
    return dict(zip(amounts, answers[len(reset) :: 2], strict=True))
