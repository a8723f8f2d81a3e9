"""Flood of one queue: what it has written when it ends."""

from __future__ import annotations

import asyncio
from typing import Any, Self, cast

from bench.load.flood_process import WAITING_JOBS, FloodOf
from bench.load.messages import Flood, Rest
from bench.load.rubbish import Victim
from queueing.protocol.algorithms import Algorithm
from tests.support.waiting import turn

VICTIM = Victim(audience="test", tenant="acme", algorithm=str(Algorithm.ECDSA_SHA_256))


class HeldRedis:
    """Queue to which a pipeline writes when ``answers`` is set; also its own pipeline."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.sent: list[bytes] = []
        self.queue: list[bytes] = []

    async def zcard(self, key: str) -> int:
        return len(self.queue)

    async def zrange(self, key: str, first: int, last: int) -> list[bytes]:
        return self.queue[first : last + 1]

    async def zrem(self, key: str, *members: bytes) -> None:
        self.queue = [each for each in self.queue if each not in set(members)]

    async def delete(self, *keys: bytes) -> None:
        """Payloads are not kept here."""

    def pipeline(self, *, transaction: bool) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def set(self, *_: object, **__: object) -> None:
        """Payloads are not kept here."""

    def publish(self, *_: object) -> None:
        """The channel has no listener."""

    def zadd(self, key: str, scores: dict[bytes, int]) -> None:
        self.sent += scores

    async def execute(self) -> None:
        await self.answers.wait()
        self.queue += self.sent
        self.sent.clear()


async def test_a_write_under_way_is_counted_and_cleared_away() -> None:
    """The worker may have refused jobs of it already; a write that is cut off could fill the queue again afterwards."""
    redis = HeldRedis()
    flood = FloodOf(cast("Any", redis), VICTIM)
    assert (await flood.obey(Flood(kind="unknown clients"))).jobs == 0
    await turn()
    assert redis.sent
    ending = asyncio.create_task(flood.obey(Rest()))
    await turn()
    assert not ending.done()
    redis.answers.set()
    assert (await ending).jobs == WAITING_JOBS
    assert redis.queue == []


async def test_a_flood_that_was_ended_begins_again() -> None:
    """Each order has a count of its own."""
    redis = HeldRedis()
    redis.answers.set()
    flood = FloodOf(cast("Any", redis), VICTIM)
    for _ in range(2):
        await flood.obey(Flood(kind="unknown clients"))
        await turn()
        assert (await flood.obey(Rest())).jobs == WAITING_JOBS
