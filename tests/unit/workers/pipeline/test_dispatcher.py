"""Dispatch of claimed jobs, with a real router, fake lanes, and a log in a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.broker.claims import ClaimedJob
from queueing.errors import (
    EnvelopeSignature,
    LimitBudget,
    LimitRate,
    LogUnavailable,
    QueueUnavailable,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import JobHints, encode_job
from queueing.unix_time import unix_ms
from tests.support.fakes.active_jobs import FinishedJobs, one_sink
from tests.support.fakes.config_files import Site, p256_key, tenant_text, version_lines
from workers.active_job import ActiveJob, Ending
from workers.config.loading import load_configuration
from workers.current_config import CurrentConfig
from workers.current_stop_orders import CurrentStopOrders
from workers.journal.journal import WriteAheadLog
from workers.journal.records import Record
from workers.lanes.supervisor.batching import Slice
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.limits.fair_queueing import FairShares
from workers.limits.grant_budgets import GrantBudgets
from workers.limits.key_budgets import KeyBudgets
from workers.limits.rate_limiter import RateLimiter
from workers.pipeline.dispatcher import Dispatcher
from workers.pipeline.forgeries import ForgeryGuard
from workers.pipeline.router import Router
from workers.telemetry.metrics import Metrics

CHARGED = 4.0

KNOWN = ClientKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)))
"""Key of the client in the tenant's file."""


@dataclass
class Lanes:
    """Lanes of one token, healthy or not."""

    token: str
    healthy: bool = True
    load: int = 0
    given: int = 0
    lacking: bool = False
    pieces: list[Slice] = field(default_factory=list)
    pumped: int = 0
    log: list[Record] = field(default_factory=list)
    records_before: list[int] = field(default_factory=list)
    """Records in the log when each slice came."""

    @property
    def status(self) -> Lanes:
        return self

    def lacks(self, key: str, version: int) -> bool:
        return self.lacking

    def submit(self, piece: Slice) -> None:
        self.pieces.append(piece)
        self.records_before.append(len(self.log))

    def pump(self) -> None:
        self.pumped += 1


class Worker:
    """A worker of the tenant ``acme``, which has ``release`` in the token acme and ``nightly`` in globex."""

    def __init__(self, folder: Path, *, limits: str = "") -> None:
        second = (
            '[keys.nightly]\nclients = ["*"]\nalgorithms = ["ECDSA_SHA_256"]\n\n[[keys.nightly.versions]]\n'
        )
        text = f"{tenant_text()}\n{limits}\n{second}{version_lines(p256_key(2), token='globex')}"
        config = CurrentConfig(load_configuration(Site(folder, tenants={"acme": text}).write().config))
        self.log: list[Record] = []
        self.lanes = {token: Lanes(token, log=self.log) for token in ("acme", "globex")}
        self.over_budget = self.shut_down_meanwhile = False
        self.uncounted: set[ActiveJob] = set()
        self.reserved: list[ActiveJob] = []
        self.finished = FinishedJobs()
        self.shutdown = ShutdownDeadline(20.0)
        metrics = Metrics(CollectorRegistry())
        self.limiter = RateLimiter(config, metrics)
        self.dispatcher = Dispatcher(
            Router(
                config,
                lanes=cast("LaneRegistry", self),
                stop_orders=CurrentStopOrders(),
                forgeries=ForgeryGuard(config.service.state_dir),
                metrics=metrics,
            ),
            limiter=self.limiter,
            shares=FairShares(self.limiter),
            budgets=cast("KeyBudgets", self),
            grants=GrantBudgets(cast("Redis", None), config),
            wal=cast("WriteAheadLog", self),
            shutdown=self.shutdown,
            metrics=metrics,
        )

    def of(self, _: str) -> dict[str, Lanes]:
        """The registry."""
        return self.lanes

    async def append(self, records: Sequence[Record]) -> None:
        """The log."""
        self.log += records
        if self.shut_down_meanwhile:
            self.shutdown.ask()

    def has_budget(self, job: ActiveJob) -> bool:
        """The key ``nightly`` has a budget, and all keys while they are over it."""
        return self.over_budget or (job.envelope is not None and job.envelope.key == "nightly")

    async def reserve(
        self, jobs: Sequence[ActiveJob], _: int
    ) -> dict[ActiveJob, LimitBudget | QueueUnavailable]:
        """The budgets of keys: all used up, or none; some are not counted."""
        self.reserved += jobs
        if self.over_budget:
            return {job: LimitBudget() for job in jobs}
        return {job: QueueUnavailable() for job in jobs if job in self.uncounted}

    def job(self, key: str, *, signer: ClientKey = KNOWN) -> ActiveJob:
        now_ms = unix_ms()
        envelope = Envelope(
            audience="test",
            tenant="acme",
            client="build-1",
            key=key,
            key_version=0,
            algorithm="ECDSA_SHA_256",
            issued_at_ms=now_ms,
            expires_at_ms=now_ms + 60_000,
            idempotency_key=bytes(16),
            digests=(bytes(32),),
        )
        payload = encode_job(seal(envelope, signer), JobHints(n=1), now_ms)
        claimed = ClaimedJob(
            tenant="acme",
            job_id=key.encode(),
            due_ms=b"1000",
            attempt=1,
            payload=payload,
            lease=b"worker:7",
            charged_digests=1,
            charged_cost=CHARGED,
        )
        return ActiveJob(claimed, one_sink(self.finished))


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


async def test_a_job_goes_to_the_token_that_has_its_key(worker: Worker) -> None:
    """Its intent is in the log before a lane gets it."""
    job = worker.job("release")
    await worker.dispatcher.dispatch([job])
    assert [piece.job for piece in worker.lanes["acme"].pieces] == [job]
    assert worker.lanes["acme"].records_before == [1]
    assert worker.lanes["acme"].pumped == 1
    assert len(worker.log) == 1


async def test_a_job_without_a_healthy_token_is_requeued_without_an_intent(worker: Worker) -> None:
    """It is due a little later: due at once it would be claimed again, for the tenant's other token has capacity."""
    worker.lanes["acme"].healthy = False
    job, other = worker.job("release"), worker.job("nightly")
    await worker.dispatcher.dispatch([job, other])
    assert isinstance(job.unavailable, TokenUnavailable)
    assert (job.ending, job.delayed, worker.finished) == (Ending.RETURN, True, [job])
    assert worker.lanes["acme"].pieces == []
    assert [piece.job for piece in worker.lanes["globex"].pieces] == [other]
    assert len(worker.log) == 1, "an intent was made durable for a job that no lane may have"


async def test_a_requeued_job_is_charged_nothing(tmp_path: Path) -> None:
    """Its tenant, which has a rate limit, has no debt and no credit: the nack refunds the charge."""
    worker = Worker(tmp_path, limits="[limits]\nrate_per_s = 100.0")
    worker.lanes["acme"].healthy = False
    job = worker.job("release")
    await worker.dispatcher.dispatch([job])
    assert (job.cost, job.owed_cost, job.owed_digests) == (0.0, 0.0, 0)
    request = worker.limiter.claim_request("acme", most_jobs=1, most_digests=1)
    assert request.settled == ()


async def test_a_token_that_recovers_is_used_again(worker: Worker) -> None:
    """The next job of its key goes to it."""
    worker.lanes["acme"].healthy = False
    await worker.dispatcher.dispatch([worker.job("release")])
    worker.lanes["acme"].healthy = True
    await worker.dispatcher.dispatch([worker.job("release")])
    assert len(worker.lanes["acme"].pieces) == 1


async def test_a_token_that_lacks_the_key_is_tried_when_no_other_has_it(worker: Worker) -> None:
    """Its lane tells whether the key is there now; only unhealthy tokens are not tried."""
    worker.lanes["acme"].lacking = True
    await worker.dispatcher.dispatch([worker.job("release")])
    assert len(worker.lanes["acme"].pieces) == 1


async def test_a_job_over_the_workers_own_rate_limit_is_requeued(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is due a little later, and no intent is written."""

    def over(*_: object) -> None:
        raise LimitRate

    monkeypatch.setattr(worker.limiter, "settle", over)
    job = worker.job("release")
    await worker.dispatcher.dispatch([job])
    assert (job.ending, job.delayed, worker.log) == (Ending.RETURN, True, [])


@pytest.mark.parametrize("error", [LimitRate(), LogUnavailable()], ids=lambda error: error.reason)
async def test_a_job_that_its_grant_does_not_permit_yet_is_requeued_alone(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, error: SigningError
) -> None:
    """The other jobs of the claim are dispatched, and nothing is raised: the worker continues to claim."""
    held, other = worker.job("release"), worker.job("nightly")

    def reserve(_: GrantBudgets, job: ActiveJob, __: int) -> None:
        if job is held:
            raise error

    monkeypatch.setattr(GrantBudgets, "reserve", reserve)
    await worker.dispatcher.dispatch([held, other])
    assert (held.ending, held.delayed, held.unavailable) == (Ending.RETURN, True, error)
    assert [piece.job for piece in worker.lanes["globex"].pieces] == [other]


async def test_a_job_over_the_budget_of_its_key_is_refused_with_nothing_on_record(worker: Worker) -> None:
    """It costs nothing, and no intent says that it may have been signed."""
    worker.over_budget = True
    job = worker.job("release")
    await worker.dispatcher.dispatch([job])
    assert isinstance(job.failure, LimitBudget)
    assert (job.ending, job.cost, worker.log) == (Ending.RESULT, 0.0, [])


async def test_a_forged_envelope_is_refused_and_not_requeued_while_no_lane_may_have_it(
    worker: Worker,
) -> None:
    """It would be claimed and returned until it expires; one of a client is requeued, and its return recorded."""
    worker.lanes["acme"].healthy = False
    forged, signed = worker.job("release", signer=ClientKey.generate()), worker.job("release")
    await worker.dispatcher.dispatch([forged, signed])
    assert isinstance(forged.failure, EnvelopeSignature)
    assert (forged.ending, forged.recorded) == (Ending.RESULT, False)
    assert (signed.ending, signed.recorded) == (Ending.RETURN, True)


async def test_a_forged_envelope_is_charged_to_no_budget(worker: Worker) -> None:
    """A writer to the queue without a client key could use up the budget of a key."""
    forged, signed = worker.job("nightly", signer=ClientKey.generate()), worker.job("nightly")
    await worker.dispatcher.dispatch([forged, signed])
    assert worker.reserved == [signed]
    assert isinstance(forged.failure, EnvelopeSignature)
    assert [piece.job for piece in worker.lanes["globex"].pieces] == [signed]


async def test_a_key_without_a_budget_costs_no_verification_here(worker: Worker) -> None:
    """The lane verifies every envelope."""
    job = worker.job("release", signer=ClientKey.generate())
    await worker.dispatcher.dispatch([job])
    assert [piece.job for piece in worker.lanes["acme"].pieces] == [job]


async def test_jobs_whose_budget_redis_does_not_count_are_requeued_and_the_others_signed(
    worker: Worker,
) -> None:
    """One shard that is away, or one damaged counter, holds up its own jobs only."""
    job, other = worker.job("nightly"), worker.job("release")
    worker.uncounted = {job}
    await worker.dispatcher.dispatch([job, other])
    assert (job.ending, job.delayed) == (Ending.RETURN, True)
    assert [piece.job for piece in worker.lanes["acme"].pieces] == [other]


async def test_jobs_that_are_claimed_during_the_shutdown_are_requeued_whole(worker: Worker) -> None:
    """No lane gets them, and no intent is written."""
    worker.shutdown.ask()
    jobs = [worker.job("release"), worker.job("nightly")]
    await worker.dispatcher.dispatch(jobs)
    assert [job.ending for job in worker.finished] == [Ending.RETURN] * 2
    assert worker.log == []


async def test_jobs_whose_intent_became_durable_during_the_shutdown_are_requeued(worker: Worker) -> None:
    """The log may take its time; no lane gets them, and they keep their place in the queue."""
    worker.shut_down_meanwhile = True
    job = worker.job("release")
    await worker.dispatcher.dispatch([job])
    assert (job.ending, job.delayed, job.maybe_signed) == (Ending.RETURN, False, False)
    assert worker.lanes["acme"].pieces == []
    assert len(worker.log) == 1
