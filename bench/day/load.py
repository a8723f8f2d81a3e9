"""The load process of a day: a client for each tenant, which asks when the plan says, whether or not earlier requests were answered.

    python -m bench.day.load --plan plan.json --result result.json

Says ``ready`` on stdout. With the first line of stdin the clients that stay connect, and sign once; with the second the day begins. Each is
answered by a line at its end. Clients of enterprises stay connected; one of a product connects for its build, reads the key
directory, signs and leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Final

import msgspec

from bench.day.arrivals import arrivals, due_by
from bench.day.curve import phase_at
from bench.day.messages import ClassResult, LoadPlan, LoadResult, PlannedTenant, Progress, decoded, encoded
from bench.day.tenants import DIGESTS_PER_BUILD, Tier
from bench.load.flows import FlowFailed
from bench.load.messages import Done
from bench.measurement.percentiles import LatencyRecorder
from queueing import Signature, SigningClient
from queueing.errors import SigningError
from queueing.protocol.algorithms import KeyKind
from workers.dev.tenants import KEY

POINT_S: Final = 1.0
DIGEST_BYTES: Final = 32

_Class = tuple[Tier, KeyKind, str]


class Tally:
    """Counts of the requests so far, by tier, kind of key and the phase in which they were due."""

    def __init__(self) -> None:
        self.asked = self.answered = self.dropped = 0
        self.failures: Counter[str] = Counter()
        self.late_s: dict[str, float] = {}
        self._requests: Counter[_Class] = Counter()
        self._digests: Counter[_Class] = Counter()
        self._failed: Counter[_Class] = Counter()
        self._latency: dict[_Class, LatencyRecorder] = {}

    def begun(self, of: _Class, digests: int, late_s: float) -> None:
        """Count a request."""
        self.asked += digests
        self._requests[of] += 1
        self._digests[of] += digests
        self.late_s[of[2]] = max(self.late_s.get(of[2], 0.0), late_s)

    def ended(self, of: _Class, digests: int, failed: Counter[str], latency_s: float) -> None:
        """Count its answer. One with a failure has no latency."""
        self.answered += digests
        if failed:
            self.failures += failed
            self._failed[of] += failed.total()
        else:
            self._latency.setdefault(of, LatencyRecorder()).record(latency_s)

    def classes(self) -> list[ClassResult]:
        """Result of each class."""
        none = LatencyRecorder()
        return [
            ClassResult(
                tier=of[0],
                kind=of[1],
                phase=of[2],
                requests=self._requests[of],
                digests=self._digests[of],
                failed_digests=self._failed[of],
                latency=self._latency.get(of, none).percentiles(),
            )
            for of in self._requests
        ]


class DayLoad:
    """All clients of a day. Digests are drawn once for each tenant: the device answers repeated ones from memory."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._tenants = {planned.name: planned for planned in plan.tenants}
        self._connected: dict[str, SigningClient] = {}
        self._digests = {
            planned.name: [os.urandom(DIGEST_BYTES) for _ in range(DIGESTS_PER_BUILD[planned.tenant.tier])]
            for planned in plan.tenants
        }
        self._tally = Tally()
        self._progress: list[Progress] = []

    async def connect(self, stack: AsyncExitStack) -> None:
        """Connect the clients that stay, and have each sign once: lanes that stay are up before the clock starts."""
        for planned in self._plan.tenants:
            if planned.stays:
                client = await stack.enter_async_context(SigningClient.from_file(planned.client))
                self._connected[planned.name] = client
        answers = await asyncio.gather(
            *(_sign(client, self._digests[name]) for name, client in self._connected.items())
        )
        if failed := sum(answers, Counter[str]()):
            raise FlowFailed(f"the first digests were not signed: {dict(failed)}")

    async def run(self) -> LoadResult:
        """Ask for everything, wait for all answers."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            points = tasks.create_task(self._point_by_point(began))
            async with asyncio.TaskGroup() as requests:
                for at_s, name in arrivals(self._plan.tenants, self._plan.phases, self._plan.seed):
                    await asyncio.sleep(max(0.0, began + at_s - time.perf_counter()))
                    self._ask(requests, self._tenants[name], began + at_s, at_s)
            points.cancel()
        self._point(began)
        tally = self._tally
        return LoadResult(
            classes=tally.classes(),
            progress=self._by_the_plan(),
            failures=dict(tally.failures),
            dropped=tally.dropped,
            late_ms={phase: 1e3 * late_s for phase, late_s in tally.late_s.items()},
        )

    def _by_the_plan(self) -> list[Progress]:
        """The points, with what was due instead of what was asked for in time."""
        plan = self._plan
        sizes = {planned.name: planned.tenant.digests_per_build for planned in plan.tenants}
        due = due_by(
            [point.at_s for point in self._progress],
            sizes,
            arrivals(plan.tenants, plan.phases, plan.seed),
        )
        return [
            Progress(at_s=point.at_s, asked=asked, answered=point.answered)
            for point, asked in zip(self._progress, due, strict=True)
        ]

    def _ask(self, requests: asyncio.TaskGroup, planned: PlannedTenant, due: float, at_s: float) -> None:
        tenant = planned.tenant
        digests = self._digests[planned.name]
        if self._tally.asked - self._tally.answered >= self._plan.most_waiting:
            self._tally.dropped += len(digests)
            return
        of = (tenant.tier, tenant.kind, phase_at(self._plan.phases, at_s).name)
        self._tally.begun(of, len(digests), max(0.0, time.perf_counter() - due))
        requests.create_task(self._request(planned, of, due))

    async def _request(self, planned: PlannedTenant, of: _Class, due: float) -> None:
        digests = self._digests[planned.name]
        connected = self._connected.get(planned.name)
        if connected is not None:
            failed = await _sign(connected, digests)
        else:
            try:
                async with SigningClient.from_file(planned.client) as client:
                    failed = await _sign(client, digests)
            except SigningError as error:
                failed = Counter({error.reason: len(digests)})
        self._tally.ended(of, len(digests), failed, max(0.0, time.perf_counter() - due))

    async def _point_by_point(self, began: float) -> None:
        while True:
            self._point(began)
            await asyncio.sleep(POINT_S)

    def _point(self, began: float) -> None:
        at_s = time.perf_counter() - began
        self._progress.append(Progress(at_s=at_s, asked=self._tally.asked, answered=self._tally.answered))


async def _sign(client: SigningClient, digests: list[bytes]) -> Counter[str]:
    """Digests that were not signed, by reason."""
    failed: Counter[str] = Counter()
    ended = 0
    try:
        async with aclosing(client.sign_many(KEY, digests)) as outcomes:
            async for outcome in outcomes:
                ended += 1
                if not isinstance(outcome, Signature):
                    failed[outcome.reason] += 1
    except SigningError as error:
        failed[error.reason] += len(digests) - ended
    return failed


async def _serve(plan: LoadPlan) -> LoadResult:
    load = DayLoad(plan)
    async with AsyncExitStack() as stack:
        _say("ready")
        await _ordered()
        await load.connect(stack)
        _say_done(Done())
        await _ordered()
        return await load.run()


def _finish(found: LoadResult, result: Path) -> None:
    """Write the result, then answer: a reader of the answer finds the file."""
    result.write_bytes(encoded(found))
    signed = sum(each.digests - each.failed_digests for each in found.classes)
    _say_done(Done(signatures=signed, failures=found.failures))


async def _ordered() -> None:
    """Wait for the next line of stdin."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def _say_done(done: Done) -> None:
    _say(msgspec.json.encode(done).decode())


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Carry out a plan."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.day.load")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    plan = decoded(given.plan.read_bytes(), LoadPlan)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_serve(plan))
    _finish(found, given.result)


if __name__ == "__main__":
    main()
