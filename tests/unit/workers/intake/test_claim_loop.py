"""Claim loop on a queue of fakes: jobs are claimed at once, never by the slow poll."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Claims
from queueing.errors import LogUnavailable, QueueUnavailable, QueueUnconfirmed
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.limits import ClaimLimits
from tests.support.clocks.fixed_random import FixedRandom
from tests.support.fakes.active_jobs import FinishedJobs, one_sink
from tests.support.fakes.configurations import current_config, tenant
from tests.support.fakes.recording_log import RecordingLog
from tests.support.fakes.shards import Shards
from tests.support.waiting import turn
from workers.active_job import ActiveJob
from workers.active_jobs import ActiveJobs
from workers.config.settings import WorkerSettings
from workers.config.tenant_limits import TenantLimits
from workers.intake import claim_loop as module
from workers.intake.claim_loop import ClaimLoop
from workers.intake.claim_planner import ClaimPlanner
from workers.intake.claimer import Claimer
from workers.intake.ready_tenants import ReadyTenants
from workers.journal.journal import WriteAheadLog
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.limits.fair_queueing import FairShares
from workers.limits.grant_budgets import GrantBudgets
from workers.limits.key_budgets import KeyBudgets
from workers.limits.log_shares import LogShares
from workers.limits.rate_limiter import RateLimiter
from workers.pipeline.dispatcher import Dispatcher, Pipeline
from workers.pipeline.forgeries import ForgeryGuard
from workers.pipeline.refusal_review import RefusalReview
from workers.pipeline.result_publisher import ResultPublisher
from workers.pipeline.retry import JobReturner
from workers.pipeline.settlement import JobSettlement
from workers.pipeline.unauthenticated import UnauthenticatedJobs
from workers.telemetry.metrics import Metrics

NEVER_S = 1e6
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed claims are repeated at once."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)


@dataclass
class Queue:
    """Doorbell rules of claim.lua and submit.lua, with replies and doorbells that take their time."""

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
        self.owed += [request.owed_digests - request.credit_digests for request in requests]
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


class LoopSetup:
    """So many jobs in flight for each tenant: when one is done, the next is submitted, until ``left`` is 0.

    It stands in for the queue, the lanes, the log, the dispatcher and the publisher of one claim loop.
    """

    def __init__(
        self,
        tenants: Collection[str],
        *,
        seed: int = 0,
        lane_digests: int = 8,
        slow_poll_s: float = NEVER_S,
        limits: ClaimLimits | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.queue = Queue(self.random, {name: deque() for name in tenants})
        self.lane_digests = lane_digests
        self.load = dict.fromkeys(tenants, 0)
        self.done: list[bytes] = []
        self.left = self.count = 0
        self.finished = asyncio.Event()
        self.log_failures = 0
        self.shards = Shards()
        self.failing = False
        self.probes = 0
        self.jobs = ActiveJobs()
        self.returned = FinishedJobs()
        self.shutdown = ShutdownDeadline(20.0)
        tenant_limits = TenantLimits(claim=limits or ClaimLimits())
        config = current_config(
            [tenant(name, limits=tenant_limits) for name in tenants],
            worker=WorkerSettings(claim_jobs=256, poison_attempts=3, slow_poll_s=slow_poll_s),
        )
        self.ready = ReadyTenants(config)
        metrics = Metrics(CollectorRegistry())
        self.limiter = RateLimiter(config, metrics)
        pipeline = Pipeline(
            dispatcher=cast("Dispatcher", self),
            review=cast("RefusalReview", self),
            publisher=cast("ResultPublisher", self),
            returner=cast("JobReturner", self.returned),
            unauthenticated=UnauthenticatedJobs(metrics, RecordingLog().wal),
            forgeries=ForgeryGuard(config.service.state_dir),
        )
        held = self.shards.held(time.monotonic)
        self.claim_loop = ClaimLoop(
            config,
            ready=self.ready,
            planner=ClaimPlanner(
                config.service.worker,
                ready=self.ready,
                lanes=cast("LaneRegistry", self),
                limiter=self.limiter,
                shares=FairShares(self.limiter),
                held=held,
                log_shares=LogShares(config, metrics),
            ),
            claimer=Claimer(
                cast("Claims", self.queue),
                pipeline=pipeline,
                ready=self.ready,
                limiter=self.limiter,
                jobs=self.jobs,
                held=held,
                metrics=metrics,
            ),
            wal=cast("WriteAheadLog", self),
            shutdown=self.shutdown,
        )
        self.settlement = JobSettlement(
            budgets=KeyBudgets(cast("Redis", None), config),
            grants=GrantBudgets(cast("Redis", None), config),
            limiter=self.limiter,
            jobs=self.jobs,
            listener=self.ready,
        )
        self.queue.ring = self.ready.ring

    def shut_down(self) -> None:
        """As ``SigningService.drain``."""
        self.shutdown.ask()
        self.ready.wake()

    def publish_recovered(self, _: ActiveJob) -> bool:
        """The publisher: no former process left anything."""
        return False

    def capacity_of(self, tenant: str) -> int:
        """Capacity as ``TokenPool`` has it: none while lanes have more than half of their digests."""
        full = 2 * self.lane_digests
        room = 2 * full - self.load[tenant]
        return room if room >= full // 2 else 0

    async def probe(self) -> None:
        """The log: can be written from the third probe on."""
        self.probes += 1
        await self.queue.delay()
        if self.probes < 3:
            raise LogUnavailable
        self.failing = False

    async def dispatch(self, jobs: Sequence[ActiveJob]) -> None:
        """The dispatcher: the log takes its time, then the lanes."""
        await self.queue.delay()
        if self.log_failures:
            self.log_failures -= 1
            for job in jobs:
                self.settlement.settle(job)
                self.queue.waiting[job.claimed.tenant].appendleft(job.claimed.job_id)
            raise LogUnavailable
        by_tenant: dict[str, list[ActiveJob]] = {}
        for job in jobs:
            by_tenant.setdefault(job.claimed.tenant, []).append(job)
            self.load[job.claimed.tenant] += 1
        for chunk in by_tenant.values():
            self._sign_after(self.random.choice((0, 0, 40)), chunk)

    def _sign_after(self, turns: int, chunk: list[ActiveJob]) -> None:
        """The lanes: ``turns`` of the loop later, in which others run."""
        if turns:
            asyncio.get_running_loop().call_soon(self._sign_after, turns - 1, chunk)
        else:
            asyncio.get_running_loop().call_soon(self._signed, chunk)

    def _signed(self, chunk: list[ActiveJob]) -> None:
        for job in chunk:
            self.load[job.claimed.tenant] -= 1
        self.ready.capacity_freed()
        asyncio.get_running_loop().call_soon(self._published, chunk)

    def _published(self, chunk: list[ActiveJob]) -> None:
        for job in chunk:
            self.settlement.settle(job)
            self.done.append(job.claimed.job_id)
            self.submit(job.claimed.tenant)
        if len(self.done) == self.count:  # what a claim has taken and not yet answered is nowhere to be seen
            self.finished.set()

    def submit(self, tenant: str) -> None:
        if self.left:
            self.left -= 1
            self.queue.submit(tenant, b"%d" % self.left)

    async def sign(self, count: int, *, in_flight: int) -> None:
        """Sign all of them; fails after ``PATIENCE_S``."""
        self.left = self.count = count
        loop = asyncio.create_task(self.claim_loop.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self.queue.armed.issuperset(self.load):
                    await turn(1)
                for tenant in self.load:
                    for _ in range(in_flight):
                        self.submit(tenant)
                await self.finished.wait()
        finally:
            self.shut_down()
            await loop
        assert sorted(self.done) == sorted(b"%d" % i for i in range(count)), "not each once"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_flight", [1, 5, 128])
async def test_a_closed_loop_never_waits_for_the_slow_poll(in_flight: int, seed: int) -> None:
    """No doorbell is lost, whether one client has fewer or more jobs under way than the lanes take."""
    await LoopSetup(["acme"], seed=seed).sign(40 if in_flight == 1 else 1000, in_flight=in_flight)


@pytest.mark.parametrize("seed", range(4))
async def test_tenants_do_not_make_each_other_wait(seed: int) -> None:
    """Each tenant has its own doorbell, lane capacity and turn."""
    await LoopSetup([f"t{i}" for i in range(20)], seed=seed).sign(2000, in_flight=16)


async def test_a_claim_that_redis_did_not_answer_is_repeated() -> None:
    """No doorbell will ring for its jobs: the claim may have been carried out or not."""
    setup = LoopSetup(["acme"])
    setup.queue.failures = [QueueUnavailable("gone"), QueueUnavailable("gone")]
    await setup.sign(50, in_flight=5)
    assert setup.claim_loop.redis_answers


def in_debt(digests: int) -> LoopSetup:
    """A worker that charged its tenant so many digests too few; negative: too many."""
    setup = LoopSetup(["acme"], limits=ClaimLimits(budget_digests=10**6))
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
        one_sink(),
    )
    job.signatures = [None] * (charged + digests)
    if digests > 0:
        setup.limiter.settle(job, KeyKind.P256)
    else:
        setup.limiter.settle_refused(job)
    return setup


@pytest.mark.parametrize("digests", [1000, -1000])
async def test_a_debt_is_paid_once_by_claims_that_no_replica_confirms(digests: int) -> None:
    """The primary charged it, whatever became of the leases."""
    setup = in_debt(digests)
    setup.queue.unconfirmed = 3
    await setup.sign(5, in_flight=5)
    assert setup.queue.owed[0] == digests
    assert not any(setup.queue.owed[1:]), setup.queue.owed
    assert setup.claim_loop.redis_answers


@pytest.mark.parametrize("digests, again", [(1000, 1000), (-1000, 0)])
async def test_no_credit_is_used_twice_when_a_reply_is_lost(digests: int, again: int) -> None:
    """Redis may have used it: a tenant gets less than its limit, never more."""
    setup = in_debt(digests)
    setup.queue.failures = [QueueUnavailable("late", perhaps_done=True)]
    await setup.sign(5, in_flight=5)
    assert setup.queue.owed[:2] == [digests, again]
    assert not any(setup.queue.owed[2:]), setup.queue.owed


@pytest.mark.parametrize("digests", [1000, -1000])
async def test_a_debt_that_redis_did_not_see_is_still_owed(digests: int) -> None:
    """Redis refused the claim, or could not be reached."""
    setup = in_debt(digests)
    setup.queue.failures = [QueueUnavailable("refused")]
    await setup.sign(5, in_flight=5)
    assert setup.queue.owed[:2] == [digests, digests]
    assert not any(setup.queue.owed[2:]), setup.queue.owed


async def test_jobs_that_the_log_did_not_accept_are_claimed_again() -> None:
    """They are claimed after a pause; no doorbell rings, because the last claim found something."""
    setup = LoopSetup(["acme"])
    setup.log_failures = 2
    await setup.sign(50, in_flight=5)


@pytest.mark.parametrize("seed", range(4))
async def test_a_suspect_is_the_only_job_of_its_tenant(seed: int) -> None:
    """All other jobs are signed, without waiting for the slow poll."""
    setup = LoopSetup(["acme", "globex"], seed=seed)
    setup.queue.suspects = {b"%d" % number for number in range(0, 400, 7)}
    crowded: list[bytes] = []
    begin = setup.dispatch

    async def dispatch(jobs: Sequence[ActiveJob]) -> None:
        for job in jobs:
            beside = [other for other in setup.jobs.claimed() if other.tenant == job.claimed.tenant]
            if job.claimed.alone and beside != [job.claimed]:
                crowded.append(job.claimed.job_id)
        await begin(jobs)

    setup.dispatch = dispatch  # type: ignore[method-assign]
    await setup.sign(400, in_flight=16)
    assert not crowded


async def test_a_limited_tenant_is_claimed_for_when_its_limit_ends() -> None:
    """No doorbell rings at that time: the loop wakes when the limit ends."""
    setup = LoopSetup(["acme"])
    setup.queue.wait_s = 0.02
    await setup.sign(50, in_flight=5)


async def test_a_tenant_whose_claim_was_refused_is_polled_again() -> None:
    """Its doorbell may not be armed: only the slow poll finds its jobs."""
    setup = LoopSetup([f"t{i:03}" for i in range(250)], slow_poll_s=0.01)
    setup.queue.refusals = 300
    await setup.sign(500, in_flight=1)


async def test_nothing_is_claimed_while_commits_are_held_up() -> None:
    """Signed results would only pile up. Claims continue without a doorbell or the slow poll."""
    setup = LoopSetup(["acme"])
    setup.shards.unconfirmed = {"acme"}
    asyncio.get_running_loop().call_soon(setup.queue.submit, "acme", b"0")
    loop = asyncio.create_task(setup.claim_loop.run())
    setup.ready.ring("acme")
    await turn(50)
    assert setup.queue.claims == 0
    setup.shards.unconfirmed = set()
    async with asyncio.timeout(PATIENCE_S):
        while not setup.done:
            await turn(1)
    setup.shut_down()
    await loop


async def test_nothing_is_claimed_while_the_log_cannot_be_written() -> None:
    """Jobs are left to workers that can sign; the loop probes the log until it can be written."""
    setup = LoopSetup(["acme"])
    claiming = asyncio.create_task(setup.claim_loop.run())
    async with asyncio.timeout(PATIENCE_S):
        while "acme" not in setup.queue.armed:
            await turn(1)
        claims, setup.failing = setup.queue.claims, True
        setup.queue.submit("acme", b"1")
        while setup.failing:
            assert setup.queue.claims == claims
            await turn(1)
        while not setup.done:
            await turn(1)
    setup.shut_down()
    await claiming
    assert (setup.probes, setup.done) == (3, [b"1"])


async def test_a_claim_that_is_answered_during_the_shutdown_is_still_dispatched() -> None:
    """The jobs are leased to this worker, and only the dispatcher can requeue them."""
    setup = LoopSetup(["acme"])
    setup.queue.waiting["acme"].extend([b"1", b"2"])
    setup.ready.ring("acme")
    dispatched: list[bytes] = []

    async def dispatch(jobs: Sequence[ActiveJob]) -> None:
        dispatched.extend(job.job_id for job in jobs)

    setup.dispatch = dispatch  # type: ignore[method-assign]
    claiming = asyncio.create_task(setup.claim_loop.run())
    while not setup.queue.claims:
        await turn(1)
    setup.shut_down()
    await claiming
    assert dispatched == [b"1", b"2"]


async def test_a_shutdown_ends_the_pause_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between two attempts may be a second long; here it is longer than the test."""
    for pause in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(module, pause, NEVER_S)
    setup = LoopSetup(["acme"])
    setup.queue.failures = [QueueUnavailable("gone")] * 2
    setup.ready.ring("acme")
    claiming = asyncio.create_task(setup.claim_loop.run())
    while len(setup.queue.failures) > 1:
        await turn(1)
    await turn()
    setup.shut_down()
    await turn()
    assert claiming.done()
    assert len(setup.queue.failures) == 1


async def test_failed_claims_are_repeated_after_growing_pauses_with_jitter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pauses double, shortened at random; after a claim that is answered they start over."""
    pauses: list[float] = []

    async def wait_for(_: asyncio.Event, pause_s: float) -> bool:
        pauses.append(pause_s)
        return False

    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "wait_for", wait_for)
    setup = LoopSetup(["acme"])
    setup.claim_loop._backoff.randomness = FixedRandom(0.5)
    setup.queue.failures = [QueueUnavailable("gone")] * 7
    await setup.sign(5, in_flight=5)
    assert pauses == pytest.approx([0.75 * whole for whole in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0)])
    assert setup.claim_loop._backoff.next_s() == pytest.approx(0.75 * 0.05)
