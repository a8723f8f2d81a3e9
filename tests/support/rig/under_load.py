"""A client that signs without pause while a test breaks Redis; afterwards all that was asked for is accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from queueing import Signature, SigningClient
from queueing.aio.owned_tasks import end_tasks
from queueing.client.signatures import Outcome
from tests.support.rig.rig import Rig, WorkerProcess
from tests.support.waiting import until_async

ROUND_S = 0.02
RESUMES_WITHIN_S = 2.0
"""Counted in rounds of 20 ms, which last longer on a busy machine: so does all that is waited for."""

OFFERED_PER_ROUND = 8
"""400 digests a second at most: a few percent of what the lanes could, so that no backlog stretches the test."""

PATIENCE_S = 90.0


@dataclass(slots=True)
class Load:
    """Progress of the load. ``resumed_s``: how long the first new signature took, from when Redis answered."""

    rig: Rig
    worker: WorkerProcess
    client: SigningClient
    request_id: str
    given: list[bytes] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    resumed_s: float | None = None

    async def digests(self) -> AsyncIterator[bytes]:
        """New ones, until it is over."""
        while not self.over.is_set():
            for _ in range(OFFERED_PER_ROUND):
                self.given.append(os.urandom(32))
                yield self.given[-1]
            await asyncio.sleep(ROUND_S)

    async def run(self) -> None:
        outcomes = self.client.sign_many(
            "release", self.digests(), request_id=self.request_id, timeout_s=PATIENCE_S
        )
        async with contextlib.aclosing(outcomes):
            async for outcome in outcomes:
                self.outcomes.append(outcome)

    def signed(self) -> float:
        return self.worker.metric("sigmill_signatures_total")

    async def resumes(self) -> None:
        """To be called when Redis answers again."""
        before, began = self.signed(), time.monotonic()
        for _ in range(round(RESUMES_WITHIN_S / ROUND_S)):
            await asyncio.sleep(ROUND_S)
            if self.signed() > before:
                self.resumed_s = time.monotonic() - began
                return
        raise AssertionError(f"nothing was signed within {RESUMES_WITHIN_S} s:\n{self.worker.log()[-3000:]}")


@contextlib.asynccontextmanager
async def under_load(
    rig: Rig, worker: WorkerProcess, *, client: SigningClient | None = None
) -> AsyncIterator[Load]:
    """The block breaks and mends. Then: one outcome per digest, a signature; a repeat gets the very same bytes;
    the worker and its lanes are the processes that they were.
    """
    async with client or rig.client() as opened:
        load = Load(rig, worker, opened, os.urandom(8).hex())
        working = asyncio.create_task(load.run())
        try:
            await until_async(lambda: len(load.outcomes) > 64, "some are there")
            lanes = worker.lanes()
            yield load
            load.over.set()
            await working
        finally:
            await end_tasks([working])  # where the test has failed; else the client would be closed under it
        assert [type(outcome) for outcome in load.outcomes] == [Signature] * len(load.given)
        assert worker.alive
        assert worker.lanes() == lanes, "a lane was replaced"
        assert worker.events("lane.started") <= sum(map(len, lanes.values())), "a lane was started again"
        again = opened.sign_many("release", load.given, request_id=load.request_id, timeout_s=PATIENCE_S)
        async with contextlib.aclosing(again):
            repeated = [outcome async for outcome in again]
        assert repeated == load.outcomes, "a job has two outcomes"
