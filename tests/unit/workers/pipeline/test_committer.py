"""Commits of durable outcomes: repeated until Redis answers, tenant by tenant, then recorded, counted and settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing.broker.claims import CommitStatus
from tests.support.fakes.active_jobs import job_in_work, signed
from tests.support.fakes.publication import Publication, committer_of, until_turned
from tests.support.waiting import turn
from workers.active_job import ActiveJob
from workers.job_result import encode_job_result
from workers.journal.records import OutcomeRecord, ReleasedRecord
from workers.pipeline import committer as module
from workers.pipeline.committer import MOST_AT_ONCE, Committer, Pending
from workers.pipeline.recovered_results import RecoveredResults
from workers.telemetry.metrics import Metrics


@pytest.fixture
def publication(monkeypatch: pytest.MonkeyPatch) -> Publication:
    for pause in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(module, pause, 0.0)
    return Publication()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def recovered() -> RecoveredResults:
    return RecoveredResults()


@pytest.fixture
async def committer(
    publication: Publication, metrics: Metrics, recovered: RecoveredResults
) -> AsyncIterator[Committer]:
    """A committer that repeats what had no answer."""
    made = committer_of(publication, metrics, recovered)
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def outcome_of(job: ActiveJob) -> OutcomeRecord:
    claimed = job.claimed
    return OutcomeRecord(1, claimed.tenant, claimed.job_id, claimed.lease, "", encode_job_result(job))


def signed_job(name: bytes, tenant: str = "acme") -> ActiveJob:
    """A job of one digest, which is signed."""
    job = job_in_work(None, job_id=name, tenant=tenant)
    job.slice_done(0, signed(1))
    return job


async def commit(committer: Committer, *jobs: ActiveJob) -> None:
    """Commit the jobs' durable outcomes once."""
    await committer.commit([Pending(outcome_of(job), job) for job in jobs])


async def test_a_committed_job_is_recorded_counted_and_settled(
    publication: Publication, committer: Committer, metrics: Metrics
) -> None:
    """Two jobs take one round trip, each under its lease, and are settled before ``commit`` returns."""
    jobs = [signed_job(b"a"), signed_job(b"b")]
    await commit(committer, *jobs)
    assert publication.events == ["commit", "settled", "settled"]
    assert [(c.job_id, c.lease) for c in publication.commits[0]["acme"]] == [
        (b"a", b"worker:7"),
        (b"b", b"worker:7"),
    ]
    assert [n.how for n in publication.noted if isinstance(n, ReleasedRecord)] == ["committed"] * 2
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 2
    assert publication.settled == jobs


async def test_a_result_waits_behind_the_tenants_own_that_have_no_answer(
    publication: Publication, committer: Committer
) -> None:
    """It is not sent before them, and no further round trip is tried for it: ``run`` repeats them together."""
    publication.away = {"acme"}
    await commit(committer, signed_job(b"a"))
    sent = len(publication.commits)
    await commit(committer, signed_job(b"b"))
    assert len(publication.commits) == sent
    publication.away = set()
    await until_turned(lambda: len(publication.settled) == 2)
    assert [job.claimed.job_id for job in publication.settled] == [b"a", b"b"]


async def test_a_recovered_outcome_without_a_job_is_forgotten_once_it_is_committed(
    publication: Publication, committer: Committer, recovered: RecoveredResults
) -> None:
    """There is no job to settle; one that was fenced is kept for when its job is claimed here again."""
    kept, gone = signed_job(b"kept"), signed_job(b"gone")
    for job, answer in ((kept, CommitStatus.FENCED), (gone, CommitStatus.COMMITTED)):
        recovered.add([outcome_of(job)])
        publication.answer = answer
        await committer.commit([Pending(outcome_of(job), None, recovered=True)])
    assert publication.settled == []
    assert recovered.take(replace(kept.claimed, payload=None)) is not None
    assert recovered.take(replace(gone.claimed, payload=None)) is None


async def test_a_commit_without_an_answer_is_repeated_with_the_same_bytes(
    publication: Publication, committer: Committer
) -> None:
    """Redis may have carried it out: the same result under the same lease is the same commit."""
    publication.redis_failures = 3
    await commit(committer, signed_job(b"a"))
    await turn(50)
    assert publication.events == [*["commit failed"] * 3, "commit", "settled"]
    assert len({commits["acme"][0].result for commits in publication.commits}) == 1


async def test_a_commit_that_replicas_do_not_have_is_repeated_until_they_do(
    publication: Publication, committer: Committer, metrics: Metrics
) -> None:
    """The job stays leased, and the bytes are the same: a primary that forgot them gets them again."""
    publication.unconfirmed = 3
    publication.answer = CommitStatus.REPEATED
    await commit(committer, signed_job(b"a"))
    assert set(committer.unconfirmed) == {"acme"}
    assert not publication.settled
    await turn(50)
    assert publication.events == [*["unconfirmed"] * 3, "commit", "settled"]
    assert len({commits["acme"][0].result for commits in publication.commits}) == 1
    assert not committer.unconfirmed
    assert metrics.redis_errors.labels("replicate")._value.get() == 3


async def test_of_two_shards_only_the_commits_of_the_one_without_its_replicas_are_repeated(
    publication: Publication, committer: Committer, metrics: Metrics
) -> None:
    """The jobs of the other are settled; the first one's tenant is unconfirmed until its replicas have it."""
    publication.unsure = {"acme"}
    await commit(committer, signed_job(b"a"), signed_job(b"g", "globex"))
    assert set(committer.unconfirmed) == {"acme"}
    assert [job.claimed.tenant for job in publication.settled] == ["globex"]
    await turn(50)
    assert [sorted(commits) for commits in publication.commits] == [["acme", "globex"], ["acme"]]
    assert [job.claimed.tenant for job in publication.settled] == ["globex", "acme"]
    assert not committer.unconfirmed
    assert metrics.redis_errors.labels("replicate")._value.get() == 1


async def test_one_tenants_damaged_keys_do_not_hold_up_the_others(
    publication: Publication, committer: Committer
) -> None:
    """The other tenant's jobs are committed once, and only the damaged tenant's are repeated."""
    publication.refuse = {"acme"}
    await commit(committer, signed_job(b"a"), signed_job(b"g", "globex"))
    await turn(50)
    assert [sorted(commits) for commits in publication.commits] == [["acme", "globex"], ["acme"]]
    assert len(publication.settled) == 2


async def test_while_a_tenants_shard_is_away_the_results_of_others_are_published(
    publication: Publication, committer: Committer
) -> None:
    """Results that finish later are, too; what waits is published in order when the shard answers again."""
    publication.away = {"acme"}
    await commit(committer, signed_job(b"a"))
    await turn(20)
    await commit(committer, signed_job(b"g", "globex"))
    await commit(committer, signed_job(b"b"))
    await turn(20)
    assert [job.claimed.tenant for job in publication.settled] == ["globex"]
    publication.away = set()
    await turn(50)
    assert [job.claimed.job_id for job in publication.settled] == [b"g", b"a", b"b"]


async def test_a_late_commit_is_recorded_as_fenced(
    publication: Publication, committer: Committer, metrics: Metrics
) -> None:
    """Another worker has the job: this one records that, counts no signature, and settles the job."""
    publication.answer = CommitStatus.FENCED
    await commit(committer, signed_job(b"a"))
    await turn()
    (note,) = publication.noted
    assert isinstance(note, ReleasedRecord)
    assert note.how == "fenced"
    assert metrics.fenced.labels("acme")._value.get() == 1
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 0
    assert len(publication.settled) == 1


async def test_a_repeated_commit_is_a_commit(
    publication: Publication, committer: Committer, metrics: Metrics
) -> None:
    """The answer to the first one was lost; the signatures are counted."""
    publication.answer = CommitStatus.REPEATED
    await commit(committer, signed_job(b"a"))
    await turn()
    assert metrics.fenced.labels("acme")._value.get() == 0
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 1


async def test_what_waited_for_redis_is_repeated_a_few_hundred_at_a_time(
    publication: Publication, committer: Committer
) -> None:
    """A round trip is shared among the tenants, and each one's order is kept: a result may be half a MiB."""
    publication.away = {"acme", "globex"}
    await commit(committer, *(signed_job(b"a%d" % i) for i in range(MOST_AT_ONCE)))
    await commit(committer, signed_job(b"g", "globex"))
    await until_turned(lambda: len(publication.commits) > 2)
    assert {sum(map(len, commits.values())) for commits in publication.commits[2:]} == {MOST_AT_ONCE // 2 + 1}
    publication.away = set()
    await until_turned(lambda: len(publication.settled) == MOST_AT_ONCE + 1)
    names = [job.claimed.job_id for job in publication.settled if job.claimed.tenant == "acme"]
    assert names == [b"a%d" % i for i in range(MOST_AT_ONCE)]


class CountedPauses:
    """Pauses of no length; ``tries`` since the last success."""

    def __init__(self) -> None:
        self.tries = 0

    def next_s(self) -> float:
        self.tries += 1
        return 0.0

    def reset(self) -> None:
        self.tries = 0


async def test_the_pauses_start_over_when_some_tenant_was_answered(
    publication: Publication, committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results left after a long outage are published without the long pauses of the outage."""
    pauses = CountedPauses()
    monkeypatch.setattr(module, "pauses", lambda: pauses)
    publication.away = {"acme"}
    await commit(committer, *(signed_job(b"a%d" % i) for i in range(3 * MOST_AT_ONCE)))
    await until_turned(lambda: pauses.tries > 8)
    publication.away = set()
    await until_turned(lambda: len(publication.settled) == 3 * MOST_AT_ONCE)
    assert pauses.tries == 0
