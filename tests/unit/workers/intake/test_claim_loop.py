"""The claim loop on a queue of fakes: whoever has work is claimed at once, never by the slow poll."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult
from queueing.errors import LogUnavailable, QueueUnavailable, QueueUnconfirmed
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.limits import ClaimLimits
from tests.support.fake_lane import turn
from workers.active_job import ActiveJob, Ending
from workers.config.tenant_limits import TenantLimits
from workers.config.tenants import Tenant
from workers.intake import claim_loop as module
from workers.intake.claim_loop import ClaimLoop
from workers.limits.fair_queueing import FairShares
from workers.limits.tenant_limiter import TenantLimiter
from workers.telemetry.metrics import Metrics

NEVER_S = 1e6
PATIENCE_S = 10.0


@dataclass
class Queue:
    """The rules of claim.lua and submit.lua about the bell, with answers and bells that take their time."""

    random: random.Random
    waiting: dict[str, deque[bytes]]
    ring: Callable[[str], None] = lambda _: None
    armed: set[str] = field(default_factory=set)
    failures: list[QueueUnavailable] = field(default_factory=list)
    unconfirmed: int = 0
    owed: list[int] = field(default_factory=list)
    refusals: int = 0
    suspects: set[bytes] = field(default_factory=set)
    wait_s: float = 0.0
    claims: int = 0

    async def delay(self) -> None:
        await turn(self.random.randrange(8))

    def submit(self, tenant: str, job_id: bytes) -> None:
        self.waiting[tenant].append(job_id)
        if tenant in self.armed:
            self.armed.discard(tenant)
            for _ in range(self.random.randrange(1, 3)):
                asyncio.get_running_loop().call_soon(self.ring, tenant)

    async def claim(
        self, requests: Sequence[ClaimRequest]
    ) -> Sequence[ClaimResult | QueueUnavailable | QueueUnconfirmed]:
        self.claims += 1
        self.owed += [request.owed_digests for request in requests]
        await self.delay()
        if self.failures:
            raise self.failures.pop()
        if self.unconfirmed:
            self.unconfirmed -= 1
            return [QueueUnconfirmed() for _ in requests]
        answers = [self._claim(request) for request in requests]
        await self.delay()
        return answers

    def _claim(self, request: ClaimRequest) -> ClaimResult | QueueUnavailable:
        if self.refusals:
            self.refusals -= 1
            return QueueUnavailable("WRONGTYPE")
        waiting = self.waiting[request.tenant]
        if not waiting:
            self.armed.add(request.tenant)
            return ClaimResult(now_ms=0, more=False, jobs=())
        if self.wait_s:
            wait_s, self.wait_s = self.wait_s, 0.0
            return ClaimResult(now_ms=0, more=True, jobs=(), wait_s=wait_s, limited="rate")
        ids: list[bytes] = []
        suspect_next = alone = False
        while waiting and len(ids) < request.most_jobs:
            alone = waiting[0] in self.suspects
            if alone and (ids or not request.alone):
                suspect_next, alone = True, False
                break
            ids.append(waiting.popleft())
            if alone:
                break
        jobs = tuple(
            ClaimedJob(
                tenant=request.tenant,
                job_id=job_id,
                due_ms=b"1",
                attempt=1,
                payload=b"",
                lease=b"w:1",
                crashes=2 * alone,
                alone=alone,
            )
            for job_id in ids
        )
        return ClaimResult(now_ms=0, more=bool(waiting), jobs=jobs, suspect_next=suspect_next)


class Farm:
    """So many jobs in flight for each tenant: when one is done, the next is submitted, until ``left`` is 0."""

    def __init__(
        self, tenants: Collection[str], *, seed: int = 0, lane_digests: int = 8, **settings: Any
    ) -> None:
        self.random = random.Random(seed)
        self.queue = Queue(self.random, {tenant: deque() for tenant in tenants})
        self.lane_digests = lane_digests
        self.load = dict.fromkeys(tenants, 0)
        self.done: list[bytes] = []
        self.left = self.count = 0
        self.finished = asyncio.Event()
        self.log_failures = 0
        self.held = False
        self.failing = False
        self.probes = 0
        metrics = Metrics(CollectorRegistry())
        configured = {
            t: cast(
                "Tenant",
                SimpleNamespace(limits=TenantLimits(claim=settings.get("limits", ClaimLimits()))),
            )
            for t in tenants
        }
        self.allowances = allowances = TenantLimiter(lambda: configured, metrics)
        self.intake = ClaimLoop(
            tenants=lambda: tenants,
            room_of=self.room,
            allowances=allowances,
            shares=FairShares(allowances.weight),
            claims=cast("Any", self.queue),
            handover=cast("Any", self),
            wal=cast("Any", self),
            finished=lambda _: None,
            published_before=lambda _: False,
            metrics=metrics,
            claim_jobs=256,
            suspect_at=2,
            slow_poll_s=settings.get("slow_poll_s", NEVER_S),
            held=lambda: self.held,
        )
        self.queue.ring = self.intake.ring

    def room(self, tenant: str) -> int:
        """As ``TokenLanes.capacity``: nothing while half of what lanes have is still to come."""
        full = 2 * self.lane_digests
        room = 2 * full - self.load[tenant]
        return room if room >= full // 2 else 0

    async def probe(self) -> None:
        """The log: tells whether it is well."""
        self.probes += 1
        await self.queue.delay()
        if self.probes < 3:
            raise LogUnavailable
        self.failing = False

    async def take(self, jobs: Sequence[ActiveJob]) -> None:
        """The handover: the log takes its time, then the lanes."""
        await self.queue.delay()
        if self.log_failures:
            self.log_failures -= 1
            for job in jobs:
                self.intake.settled(job)
                self.queue.waiting[job.claimed.tenant].appendleft(job.claimed.job_id)
            raise LogUnavailable
        by_tenant: dict[str, list[ActiveJob]] = {}
        for job in jobs:
            by_tenant.setdefault(job.claimed.tenant, []).append(job)
            self.load[job.claimed.tenant] += 1
        for chunk in by_tenant.values():
            asyncio.get_running_loop().call_later(self.random.choice((0, 0, 0.001)), self._signed, chunk)

    def _signed(self, chunk: list[ActiveJob]) -> None:
        for job in chunk:
            self.load[job.claimed.tenant] -= 1
        self.intake.capacity_freed()
        asyncio.get_running_loop().call_soon(self._published, chunk)

    def _published(self, chunk: list[ActiveJob]) -> None:
        for job in chunk:
            self.intake.settled(job)
            self.done.append(job.claimed.job_id)
            self.submit(job.claimed.tenant)
        if len(self.done) == self.count:  # what a claim has taken and not yet answered is nowhere to be seen
            self.finished.set()

    def submit(self, tenant: str) -> None:
        if self.left:
            self.left -= 1
            self.queue.submit(tenant, b"%d" % self.left)

    async def sign(self, count: int, *, in_flight: int) -> None:
        """All of them, or a time-out."""
        self.left = self.count = count
        loop = asyncio.create_task(self.intake.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self.queue.armed.issuperset(self.load):
                    await turn(1)
                for tenant in self.load:
                    for _ in range(in_flight):
                        self.submit(tenant)
                await self.finished.wait()
        finally:
            self.intake.drain()
            await loop
        assert sorted(self.done) == sorted(b"%d" % i for i in range(count)), "not each once"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_flight", [1, 5, 128])
async def test_a_closed_loop_never_waits_for_the_slow_poll(in_flight: int, seed: int) -> None:
    """One client, as many jobs under way as it likes, more or fewer than the lanes take: no bell is lost."""
    await Farm(["acme"], seed=seed).sign(40 if in_flight == 1 else 1000, in_flight=in_flight)


@pytest.mark.parametrize("seed", range(4))
async def test_tenants_do_not_make_each_other_wait(seed: int) -> None:
    """Each has its own bell, its own room, and its turn."""
    await Farm([f"t{i}" for i in range(20)], seed=seed).sign(2000, in_flight=16)


async def test_what_was_asked_while_redis_was_away_is_asked_again() -> None:
    """No bell will ring for it: the claim may have been carried out or not."""
    farm = Farm(["acme"])
    farm.queue.failures = [QueueUnavailable("gone"), QueueUnavailable("gone")]
    await farm.sign(50, in_flight=5)
    assert farm.intake.redis_answers


def in_debt(digests: int) -> Farm:
    """A worker that charged its tenant so many digests too little; negative: too much."""
    farm = Farm(["acme"], limits=ClaimLimits(budget_digests=10**6))
    charged = max(-digests, 0)
    job = ActiveJob(
        ClaimedJob(
            tenant="acme",
            job_id=b"before",
            due_ms=b"1",
            attempt=1,
            payload=b"",
            lease=b"w:1",
            charged_digests=charged,
        ),
        lambda _: None,
    )
    job.signatures = [None] * (charged + digests)
    if digests > 0:
        farm.allowances.charge(job, KeyKind.P256)
    else:
        farm.allowances.refused(job)
    return farm


@pytest.mark.parametrize("digests", [1000, -1000])
async def test_what_is_owed_is_charged_once_by_claims_that_no_replica_confirms(digests: int) -> None:
    """The primary has taken it, whatever became of the leases."""
    farm = in_debt(digests)
    farm.queue.unconfirmed = 3
    await farm.sign(5, in_flight=5)
    assert farm.queue.owed[0] == digests
    assert not any(farm.queue.owed[1:]), farm.queue.owed
    assert farm.intake.redis_answers


@pytest.mark.parametrize("digests, again", [(1000, 1000), (-1000, 0)])
async def test_nothing_is_given_back_twice_where_an_answer_is_lost(digests: int, again: int) -> None:
    """Redis has perhaps charged it: a tenant gets less than its limit, never more."""
    farm = in_debt(digests)
    farm.queue.failures = [QueueUnavailable("late", perhaps_done=True)]
    await farm.sign(5, in_flight=5)
    assert farm.queue.owed[:2] == [digests, again]
    assert not any(farm.queue.owed[2:]), farm.queue.owed


@pytest.mark.parametrize("digests", [1000, -1000])
async def test_what_redis_has_not_seen_is_still_owed(digests: int) -> None:
    """It refused, or could not be reached."""
    farm = in_debt(digests)
    farm.queue.failures = [QueueUnavailable("refused")]
    await farm.sign(5, in_flight=5)
    assert farm.queue.owed[:2] == [digests, digests]
    assert not any(farm.queue.owed[2:]), farm.queue.owed


async def test_what_the_log_did_not_take_is_claimed_again() -> None:
    """After a pause; the tenant's bell is not armed, for its last claim found something."""
    farm = Farm(["acme"])
    farm.log_failures = 2
    await farm.sign(50, in_flight=5)


@pytest.mark.parametrize("seed", range(4))
async def test_a_suspect_has_nothing_of_its_tenant_beside_it(seed: int) -> None:
    """And all the others are signed, with no wait for the slow poll."""
    farm = Farm(["acme", "globex"], seed=seed)
    farm.queue.suspects = {b"%d" % number for number in range(0, 400, 7)}
    crowded: list[bytes] = []
    begin = farm.take

    async def take(jobs: Sequence[ActiveJob]) -> None:
        for job in jobs:
            beside = [other for other in farm.intake.in_work if other.claimed.tenant == job.claimed.tenant]
            if job.claimed.alone and beside != [job]:
                crowded.append(job.claimed.job_id)
        await begin(jobs)

    farm.take = take  # type: ignore[method-assign]
    await farm.sign(400, in_flight=16)
    assert not crowded


async def test_a_limit_says_when_to_come_back() -> None:
    """Nothing rings at that time."""
    farm = Farm(["acme"])
    farm.queue.wait_s = 0.02
    await farm.sign(50, in_flight=5)


async def test_a_tenant_whose_claim_was_refused_is_looked_at_again() -> None:
    """With the next look, though a hundred others are before it: its bell may not be armed."""
    farm = Farm([f"t{i:03}" for i in range(250)], slow_poll_s=0.01)
    farm.queue.refusals = 300
    await farm.sign(500, in_flight=1)


async def test_nothing_is_claimed_while_commits_are_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed results would only pile up; it goes on by itself, without a bell or the slow poll."""
    monkeypatch.setattr(module, "SHORTEST_PAUSE_S", 0.0)
    farm = Farm(["acme"])
    farm.held = True
    asyncio.get_running_loop().call_soon(farm.queue.submit, "acme", b"0")
    loop = asyncio.create_task(farm.intake.run())
    farm.intake.ring("acme")
    await turn(50)
    assert not farm.done
    farm.held = False
    async with asyncio.timeout(PATIENCE_S):
        while not farm.done:
            await turn(1)
    farm.intake.drain()
    await loop


async def test_nothing_is_claimed_while_the_log_cannot_be_written() -> None:
    """Its jobs are left to workers that can sign; it asks the log, not the queue, until that is well."""
    farm = Farm(["acme"])
    claiming = asyncio.create_task(farm.intake.run())
    async with asyncio.timeout(PATIENCE_S):
        while "acme" not in farm.queue.armed:
            await turn(1)
        claims, farm.failing = farm.queue.claims, True
        farm.queue.submit("acme", b"1")
        while farm.failing:
            assert farm.queue.claims == claims
            await turn(1)
        while not farm.done:
            await turn(1)
    farm.intake.drain()
    await claiming
    assert (farm.probes, farm.done) == (3, [b"1"])


async def test_a_claim_that_is_answered_while_the_worker_drains_goes_back_whole() -> None:
    """No lane sees it, and no intent is written for it."""
    farm = Farm(["acme"])
    returned: list[ActiveJob] = []
    farm.intake._finished = returned.append
    farm.queue.waiting["acme"].extend([b"1", b"2"])
    farm.intake.ring("acme")
    claiming = asyncio.create_task(farm.intake.run())
    while not farm.queue.claims:
        await turn(1)
    farm.intake.drain()
    await claiming
    assert [job.ending for job in returned] == [Ending.RETURN] * 2
    assert farm.load == {"acme": 0}


async def test_a_drain_is_not_slept_over_while_redis_is_away() -> None:
    """The pause between two attempts may be a second long."""
    farm = Farm(["acme"])
    farm.queue.failures = [QueueUnavailable("gone")] * 100
    farm.intake.ring("acme")
    claiming = asyncio.create_task(farm.intake.run())
    while len(farm.queue.failures) > 97:
        await turn(1)
    farm.intake.drain()
    await turn(30)
    assert claiming.done()
