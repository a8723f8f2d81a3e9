"""Counters of what keys have signed in a period, over all workers. Whoever writes to Redis can set them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from queueing.protocol import keyspace
from queueing.redis.errors import REDIS_ERRORS, unavailable
from queueing.redis.send_once import Command, send_once

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis.asyncio import Redis

    from queueing.errors import QueueUnavailable

_FOREIGN: Final = ("WRONGTYPE", "value is not an integer", "increment or decrement would overflow")
"""What INCRBY answers over a value that no INCRBY of ours has made. Whatever else it answers (OOM, READONLY, NOPERM)
says nothing about the value."""


@dataclass(frozen=True, slots=True)
class UsagePeriod:
    """What one key has signed in one period; kept for two of them."""

    tenant: str
    key: str
    period: int
    period_s: int

    @property
    def name(self) -> str:
        """The counter's key in Redis."""
        return keyspace.spent(self.tenant, self.key, self.period_s, self.period)


async def add(redis: Redis, amounts: Mapping[UsagePeriod, int]) -> dict[UsagePeriod, int | QueueUnavailable]:
    """Add digests, or take them back with a negative number: what each counter says then. Raises nothing.

    One round trip, sent once. Where Redis did not take an amount, its ``QueueUnavailable`` stands in the place of the
    counter; with ``perhaps_done`` it may have taken it. A foreign value under a counter is removed, and that count
    begins anew, with a second round trip.
    """
    answers = await _add(redis, amounts)
    foreign = {account: n for account, n in amounts.items() if _is_foreign(answers[account])}
    if foreign:
        answers |= await _add(redis, foreign, anew=foreign)
    return {
        account: unavailable("count what a key has signed", answer)
        if isinstance(answer, Exception)
        else answer
        for account, answer in answers.items()
    }


async def _add(
    redis: Redis, amounts: Mapping[UsagePeriod, int], *, anew: Collection[UsagePeriod] = ()
) -> dict[UsagePeriod, Any]:
    commands: list[Command] = [("DEL", account.name) for account in anew]
    for account, digests in amounts.items():
        commands.append(("INCRBY", account.name, digests))
        commands.append(("EXPIRE", account.name, 2 * account.period_s))
    try:
        answers = await send_once(redis, commands)
    except REDIS_ERRORS as error:
        return dict.fromkeys(amounts, error)
    return dict(zip(amounts, answers[len(anew) :: 2], strict=True))


def _is_foreign(answer: Any) -> bool:
    return isinstance(answer, ResponseError) and str(answer).startswith(_FOREIGN)
