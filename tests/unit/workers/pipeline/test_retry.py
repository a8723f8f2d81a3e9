"""Jobs that return to the queue: recorded, due at the right time, counted or not, settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing.aio.backoff import Randomness
from queueing.broker.claims import ClaimedJob, Claims
from queueing.errors import ClockSetBack, ConfigBehind, KeyUnknown, QueueUnavailable, TokenUnavailable
from queueing.protocol.jobs import JobHints, WireError
from tests.support.clocks.fixed_random import FixedRandom
from tests.support.fakes.active_jobs import FinishedJobs, claimed, envelope, job_in_work, one_sink, signed
from tests.support.waiting import turn
from workers.active_job import ActiveJob, JobSinks
from workers.journal.journal import WriteAheadLog
from workers.journal.records import Record, ReturnedRecord
from workers.lanes.protocol import SliceOutcome
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.pipeline.retry import JobReturner
from workers.pipeline.settlement import JobSettlement
from workers.telemetry.metrics import Metrics


@dataclass
class Surroundings:
    """The log, the queue, the lanes and the settlement of one returner, and what happened to them."""

    events: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    nacks: list[tuple[list[bytes], bool, int]] = field(default_factory=list)
    refunds: list[bool] = field(default_factory=list)
    settled: list[ActiveJob] = field(default_factory=list)
    redis_failures: int = 0
    token_usable: bool = True
    shutdown: ShutdownDeadline = field(default_factory=lambda: ShutdownDeadline(20.0))
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def append_nowait(self, records: Sequence[Record]) -> None:
        self.events.append("recorded")
        self.records += records

    async def nack(
        self, jobs: dict[str, list[ClaimedJob]], *, counts: bool, refund: bool, delay_ms: int = 0
    ) -> None:
        if self.redis_failures:
            self.redis_failures -= 1
            raise QueueUnavailable
        self.events.append("nacked")
        self.nacks.append(([job.job_id for each in jobs.values() for job in each], counts, delay_ms))
        self.refunds.append(refund)

    def can_sign(self, _: str) -> bool:
        return self.token_usable

    def settle(self, job: ActiveJob) -> None:
        self.events.append("settled")
        self.settled.append(job)


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
async def returner(around: Surroundings) -> AsyncIterator[JobReturner]:
    """Its delays are not shortened."""
    async with running_returner(around, FixedRandom(1.0)) as made:
        yield made


@asynccontextmanager
async def running_returner(around: Surroundings, randomness: Randomness) -> AsyncIterator[JobReturner]:
    made = JobReturner(
        cast("Claims", around),
        wal=cast("WriteAheadLog", around),
        lanes=cast("LaneRegistry", around),
        settlement=cast("JobSettlement", around),
        shutdown=around.shutdown,
        metrics=around.metrics,
        randomness=randomness,
    )
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_job_whose_token_became_unavailable_keeps_its_place(
    around: Surroundings, returner: JobReturner
) -> None:
    """Such a job is due at once, its attempt does not count, and the record says that it may have been signed."""
    job = job_in_work(returner, 2)
    job.slice_done(0, signed(1))
    job.slice_unavailable(1, 1)
    await turn()
    assert around.nacks == [([b"job"], False, 0)]
    (record,) = around.records
    assert isinstance(record, ReturnedRecord)
    assert record.maybe_signed
    assert around.events == ["recorded", "nacked", "settled"]
    assert around.settled == [job]


async def test_a_job_that_a_lane_refused_for_now_is_due_a_second_later(
    around: Surroundings, returner: JobReturner
) -> None:
    """A job that is due at once would be claimed and returned in a loop."""
    job = job_in_work(returner)
    job.slice_done(0, SliceOutcome(None, 1, b"", (None,), {0: WireError.of(TokenUnavailable())}))
    await turn()
    assert around.nacks == [([b"job"], False, 1000)]


async def test_a_job_that_no_client_is_known_to_have_signed_leaves_no_record(
    around: Surroundings, returner: JobReturner
) -> None:
    """A forger could fill the log while a circuit breaker is open; a job of a known client is recorded."""
    forged, known = (job_in_work(returner, job_id=name) for name in (b"forged", b"known"))
    for job in (forged, known):
        job.intended = False
    known.authenticated = True
    for job in (forged, known):
        job.requeue(TokenUnavailable())
    await turn()
    assert [record.job_id for record in around.records if isinstance(record, ReturnedRecord)] == [b"known"]
    assert around.nacks == [([b"forged", b"known"], False, 500)]
    assert around.settled == [forged, known]


async def test_a_job_that_no_lane_may_have_is_due_at_the_next_slow_poll(
    around: Surroundings, returner: JobReturner
) -> None:
    """If due at once, this worker would claim it again; if later, a recovered token would idle."""
    job_in_work(returner).requeue(TokenUnavailable())
    await turn()
    assert around.nacks == [([b"job"], False, 500)]


async def test_a_job_is_due_at_once_when_no_token_of_its_tenant_can_be_used(
    around: Surroundings, returner: JobReturner
) -> None:
    """This worker does not claim for such a tenant; another worker may."""
    around.token_usable = False
    job_in_work(returner).requeue(TokenUnavailable())
    await turn()
    assert around.nacks == [([b"job"], False, 0)]


async def test_a_job_that_the_hsm_failed_on_is_due_at_once_when_no_token_can_be_used(
    around: Surroundings, returner: JobReturner
) -> None:
    """The order of the jobs is kept for when the HSM recovers; the attempt counts."""
    around.token_usable = False
    job_in_work(returner).slice_faulted(0, 1)
    await turn()
    assert around.nacks == [([b"job"], True, 0)]


@pytest.mark.parametrize("attempt, delay_ms", [(1, 1000), (2, 2000), (3, 4000), (4, 4000), (400, 4000)])
async def test_a_job_that_the_hsm_failed_on_waits_longer_each_time(
    around: Surroundings, returner: JobReturner, attempt: int, delay_ms: int
) -> None:
    """The delay doubles up to four seconds, and the attempt counts."""
    job = ActiveJob(replace(claimed(), attempt=attempt), one_sink(returner))
    job.set_content(b"sealed", envelope(1), JobHints(), 1)
    job.slice_faulted(0, 1)
    await turn()
    assert around.nacks == [([b"job"], True, delay_ms)]
    assert around.refunds == [False]


@pytest.mark.parametrize("attempt, delay_ms", [(1, 1000), (4, 8000), (7, 60_000), (400, 60_000)])
async def test_a_job_that_is_in_doubt_because_the_clock_was_set_back_waits_longer_each_time(
    around: Surroundings, returner: JobReturner, attempt: int, delay_ms: int
) -> None:
    """Each try writes its envelope to the log. The attempt counts, and its limits get their charge back."""
    job = ActiveJob(replace(claimed(), attempt=attempt), one_sink(returner))
    job.set_content(b"sealed", envelope(1), JobHints(), 1)
    job.slice_refused(0, 1, ClockSetBack())
    await turn()
    assert around.nacks == [([b"job"], True, delay_ms)]
    assert around.refunds == [True]


@pytest.mark.parametrize("attempt, delay_ms", [(1, 1000), (2, 2000), (3, 4000), (400, 4000)])
async def test_a_job_that_an_older_file_refuses_waits_up_to_four_seconds_for_another_worker(
    around: Surroundings, returner: JobReturner, attempt: int, delay_ms: int
) -> None:
    """The attempt counts, so that the delay grows; its limits get their charge back."""
    job = ActiveJob(replace(claimed(), attempt=attempt), JobSinks(results=FinishedJobs(), returns=returner))
    job.fail(KeyUnknown())
    job.return_refused(ConfigBehind())
    await turn()
    assert around.nacks == [([b"job"], True, delay_ms)]
    assert around.refunds == [True]
    assert around.settled == [job]
    assert around.records == []


async def test_jobs_of_one_round_that_return_alike_share_a_round_trip(
    around: Surroundings, returner: JobReturner
) -> None:
    """One nack for each pair of delay and counting."""
    for name in (b"a", b"b"):
        job_in_work(returner, job_id=name).slice_unavailable(0, 1)
    job_in_work(returner, job_id=b"c").slice_faulted(0, 1)
    await turn()
    assert around.nacks == [([b"a", b"b"], False, 0), ([b"c"], True, 2000)]


async def test_jobs_that_the_hsm_failed_on_come_back_earlier_by_up_to_half_at_random(
    around: Surroundings,
) -> None:
    """An HSM that recovers does not get the jobs of all workers at once; those of one round share a random number."""
    async with running_returner(around, FixedRandom(0.0)) as returner:
        for name in (b"a", b"b"):
            job_in_work(returner, job_id=name).slice_faulted(0, 1)
        await turn()
    assert around.nacks == [([b"a", b"b"], True, 1000)]


async def test_a_worker_that_shuts_down_returns_jobs_without_delay(
    around: Surroundings, returner: JobReturner
) -> None:
    """Another worker can claim them; the metric says that they were drained."""
    around.shutdown.ask()
    job_in_work(returner).requeue(TokenUnavailable())
    await turn()
    assert around.nacks == [([b"job"], False, 0)]
    assert around.metrics.returned.labels("acme", "drain")._value.get() == 1


async def test_a_nack_without_an_answer_is_counted_and_the_job_settled(
    around: Surroundings, returner: JobReturner
) -> None:
    """It is not repeated: the lease runs out, and the job is claimed again."""
    around.redis_failures = 1
    job = job_in_work(returner)
    job.slice_unavailable(0, 1)
    await turn()
    assert around.settled == [job]
    assert around.nacks == []
    assert around.metrics.redis_errors.labels("release")._value.get() == 1
