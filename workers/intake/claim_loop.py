"""From the queue to the lanes: claim what lanes can start.

A worker never claims what it cannot start soon; a slow tenant's jobs stay in Redis, where another worker can
take them. Idle, it waits for a doorbell; stock arq producers ring none and are found by a slow poll.

No bell is lost: a tenant stays ``hot`` until a claim finds nothing and arms its bell in the same step; one that
rings while the claim's answer is on its way makes the tenant hot again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import ClaimResult
from queueing.errors import (
    HsmFault,
    LimitBacklog,
    LogUnavailable,
    QueueUnavailable,
    QueueUnconfirmed,
    SigningError,
    TokenUnavailable,
)
from workers.active_job import ActiveJob, Ending
from workers.intake.poll_schedule import PollSchedule
from workers.intake.suspect_isolation import SuspectIsolation
from workers.pipeline.router import read_job
from workers.telemetry import job_log as job_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from queueing.broker.claims import ClaimedJob, ClaimRequest, Claims
    from workers.journal.journal import WriteAheadLog
    from workers.limits.fair_queueing import FairShares
    from workers.limits.tenant_limiter import TenantLimiter
    from workers.pipeline.dispatcher import Dispatcher
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.intake")

ROUND_UNITS: Final = 2048.0
"""What all tenants together may claim in one round, in units of cost: about a second of a small HSM. Who comes with the
next round waits no longer than this one takes to be read and dispatched, some milliseconds."""

EXCESS_RETRY_S: Final = 30.0
"""When a job that was cut off a backlog may be submitted again."""

PACE_S: Final = 0.002
"""Shortest time between two claims of a busy worker; far below an idle digest's objective (5 ms)."""

MOST_AT_ONCE: Final = 256
"""Tenants in one round trip: with thousands that may have work, the first do not wait for the last."""

SHORTEST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Between attempts while Redis does not answer."""


class ClaimLoop:
    """The claim loop of one worker."""

    def __init__(
        self,
        *,
        tenants: Callable[[], Collection[str]],
        room_of: Callable[[str], int],
        allowances: TenantLimiter,
        shares: FairShares,
        claims: Claims,
        handover: Dispatcher,
        wal: WriteAheadLog,
        finished: Callable[[ActiveJob], None],
        published_before: Callable[[ClaimedJob], bool],
        metrics: Metrics,
        claim_jobs: int,
        suspect_at: int,
        slow_poll_s: float,
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._room_of = room_of
        self._allowances = allowances
        self._shares = shares
        self._claims = claims
        self._handover = handover
        self._wal = wal
        self._finished = finished
        self._published_before = published_before
        self._metrics = metrics
        self._claim_jobs = claim_jobs
        self._suspect_at = suspect_at
        self._isolation = SuspectIsolation()
        self._slow_poll_s = slow_poll_s
        self._held = held
        self._hot: dict[str, None] = {}  # in the order in which they became so: none is passed over for ever
        self._slow_poll = PollSchedule(tenants)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._claimed_at = 0.0
        self.in_work: set[ActiveJob] = set()
        self._drain_asked = asyncio.Event()
        self._outage = False
        self.redis_answers = not tenants()  # where nothing can be claimed, nothing says that it does not

    def ring(self, tenant: str) -> None:
        """There may be something for this tenant."""
        self._hot[tenant] = None
        self._wake.set()

    @property
    def draining(self) -> bool:
        """Whether nothing more is to be claimed."""
        return self._drain_asked.is_set()

    def drain(self) -> None:
        """Claim nothing more; what a claim under way brings goes back."""
        self._drain_asked.set()
        self._wake.set()

    async def all_settled(self, timeout_s: float) -> bool:
        """Wait until nothing is in work; False when that takes longer."""
        if not self.in_work:
            return True
        self._idle.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def capacity_freed(self) -> None:
        """A lane has become free."""
        if self._hot:
            self._wake.set()

    async def run(self) -> None:
        """Claim until drained. Errors of Redis and of the log are waited out, never passed on."""
        pause_s = SHORTEST_PAUSE_S
        next_look = 0.0
        while not self.draining:
            self._wake.clear()  # before anything is looked at: what happens during a claim is not slept over
            now = time.monotonic()
            if now >= next_look:
                self._hot.update(dict.fromkeys(self._slow_poll.next()))
                next_look = now + self._slow_poll_s
            requests = self._requests()
            if requests:
                await self._keep_pace()
                try:
                    if self._wal.failing:
                        await self._wal.probe()  # what could not be signed is left to other workers
                    await self._claim(requests)
                except (QueueUnavailable, QueueUnconfirmed, LogUnavailable) as error:
                    self._note_outage(error)
                    self._hot.update(dict.fromkeys(request.tenant for request in requests))
                    await self._pause(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                    continue
                self.redis_answers, self._outage = True, False
                pause_s = SHORTEST_PAUSE_S
                if self._requests():
                    continue
            await self._sleep(next_look)

    async def _keep_pace(self) -> None:
        """While there is work, claims come at most every ``PACE_S``: one for ten jobs costs little more than for one."""
        wait_s = self._claimed_at + PACE_S - time.monotonic()
        if self.in_work and wait_s > 0:
            await asyncio.sleep(wait_s)
        self._claimed_at = time.monotonic()

    async def _pause(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._drain_asked.wait()

    async def _sleep(self, next_look: float) -> None:
        until = min(next_look, self._allowances.next_release_s(self._hot))
        if self._held():
            until = min(until, time.monotonic() + SHORTEST_PAUSE_S)
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.001)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _note_outage(self, error: QueueUnavailable | QueueUnconfirmed | LogUnavailable) -> None:
        if isinstance(error, LogUnavailable):
            return  # the log has said so itself
        operation = "replicate" if isinstance(error, QueueUnconfirmed) else "claim"
        self._metrics.redis_errors.labels(operation).inc()
        if not self._outage:
            log.warning("claim.failed", extra={"why": str(error), "error": type(error).__name__})
        self.redis_answers, self._outage = False, True

    def _requests(self) -> list[ClaimRequest]:
        """What each tenant that may have work could start now, as far as it is its turn; nothing while ``held``."""
        if self._held():
            return []
        allowances = self._allowances
        isolation = self._isolation
        open_to_claim = (t for t in self._hot if not (allowances.is_held(t) or isolation.is_waiting(t)))
        free = ((t, self._room_of(t)) for t in open_to_claim)
        rooms = dict(islice(((t, room) for t, room in free if room > 0), MOST_AT_ONCE))
        wants = {t: room * allowances.cost_per_digest(t) for t, room in rooms.items()}
        shares = self._shares.allot(wants, ROUND_UNITS)
        total = sum(shares.values())
        requests = []
        for tenant, share in shares.items():
            if share > 0:
                digests = min(rooms[tenant], math.ceil(share / allowances.cost_per_digest(tenant)))
                jobs = min(digests, math.ceil(self._claim_jobs * share / total))
                request = allowances.request(tenant, most_jobs=jobs, most_digests=digests)
                alone = isolation.nothing_in_work(tenant)
                requests.append(replace(request, suspect_at=self._suspect_at, alone=alone))
        return requests

    async def _claim(self, requests: Sequence[ClaimRequest]) -> None:
        for request in requests:
            self._hot.pop(request.tenant, None)  # a bell that rings while we claim puts it back
        answers = await self._ask(requests)
        jobs: list[ActiveJob] = []
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, ClaimResult):
                self._allowances.answered(request, answer)
                if answer.replaced:
                    self._metrics.keys_replaced.labels(request.tenant).inc(answer.replaced)
                    log.warning("keys.replaced", extra={"tenant": request.tenant, "keys": answer.replaced})
                self._metrics.claimed(request.tenant, answer.jobs)
                job_lines.claimed(request.tenant, answer.jobs)
                self._refuse(answer.excess)
                jobs += self._take(request.tenant, answer)
            elif isinstance(answer, QueueUnconfirmed):
                self._allowances.charged(request)
            else:
                self._slow_poll.had_work(
                    request.tenant
                )  # its bell may not be armed: look again, but in no hurry
                self._metrics.redis_errors.labels("claim").inc()
                log.error("claim.refused", extra={"tenant": request.tenant, "why": str(answer)})
        for answer in answers:
            if isinstance(answer, QueueUnconfirmed):  # and then all that Redis has carried out
                raise answer
        if jobs:
            self._metrics.claimed_jobs.observe(len(jobs))
            if self.draining:
                for job in jobs:
                    job.put_back(TokenUnavailable("this worker is about to end"))
            else:
                await self._handover.take(jobs)

    async def _ask(
        self, requests: Sequence[ClaimRequest]
    ) -> Sequence[ClaimResult | QueueUnavailable | QueueUnconfirmed]:
        try:
            return await self._claims.claim(requests)
        except QueueUnavailable as error:
            if error.perhaps_done:
                for request in requests:
                    self._allowances.perhaps_charged(request)
            raise

    def _take(self, tenant: str, answer: ClaimResult) -> list[ActiveJob]:
        if answer.jobs:
            self._slow_poll.had_work(tenant)
        if answer.more or answer.jobs:
            self._hot[tenant] = None  # until a claim finds nothing, which arms the doorbell
        jobs = [self._begin(claimed) for claimed in answer.jobs if not self._published_before(claimed)]
        if answer.suspect_next or any(job.claimed.alone for job in jobs):
            self._isolation.wait(tenant)
        return jobs

    def _begin(self, claimed: ClaimedJob) -> ActiveJob:
        job = ActiveJob(claimed, self._finished)
        self.in_work.add(job)
        self._isolation.began(claimed.tenant)
        return job

    def _refuse(self, excess: Sequence[ClaimedJob]) -> None:
        """The newest jobs of a backlog far over its cap: somebody went round the submit script."""
        for claimed in excess:
            if self._published_before(claimed):
                continue
            job = self._begin(claimed)
            try:
                read_job(job)
            except SigningError as error:
                job.fail(error)
            else:
                job.fail(
                    LimitBacklog("the tenant's backlog is far over its cap", retry_after_s=EXCESS_RETRY_S)
                )

    def settled(self, job: ActiveJob) -> None:
        """The job is published or returned: its lease is nobody's business any more."""
        if job.ending is Ending.RETURN and not isinstance(job.unavailable, HsmFault):
            self._allowances.returned(job)
        self.in_work.discard(job)
        waited = self._isolation.is_waiting(job.claimed.tenant)
        self._isolation.settled(job.claimed.tenant)
        if waited:
            self._wake.set()
        if not self.in_work:
            self._idle.set()
