"""A job in the account of its class' objectives: what we failed is bad, what was asked wrongly is not."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest

from queueing.broker.claims import CommitStatus
from queueing.errors import (
    BY_REASON,
    ClientRevoked,
    GrantExhausted,
    GrantRefused,
    HsmFault,
    JobExpired,
    LimitBacklog,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.jobs import WireError
from tests.support.fakes.active_jobs import job_in_work, signed
from tests.support.fakes.grants import grant, sealed_grant
from workers.active_job import ActiveJob
from workers.lanes.protocol import SliceOutcome
from workers.telemetry.metrics import Metrics
from workers.telemetry.outcome_metrics import _OURS, count_outcomes


class Account:
    """The metrics of one round."""

    def __init__(self, job: ActiveJob, committed: CommitStatus = CommitStatus.COMMITTED) -> None:
        self._registry = CollectorRegistry()
        count_outcomes([(job, committed)], Metrics(self._registry), lambda tenant: f"class of {tenant}")

    def jobs(self, result: str) -> float:
        labels = {"class": "class of acme", "result": result}
        return self._registry.get_sample_value("sigmill_objective_jobs_total", labels) or 0

    @property
    def seconds(self) -> float | None:
        labels = {"class": "class of acme"}
        return self._registry.get_sample_value("sigmill_objective_seconds_sum", labels)


def failed(error: SigningError) -> ActiveJob:
    job = job_in_work()
    job.fail(error)
    return job


@pytest.mark.parametrize("error", [JobExpired(), HsmFault(), TokenUnavailable()])
def test_a_job_that_we_failed_is_bad(error: SigningError) -> None:
    """Its time counts as no latency."""
    account = Account(failed(error))
    assert (account.jobs("bad"), account.jobs("good"), account.seconds) == (1, 0, None)


@pytest.mark.parametrize("error", [ClientRevoked(), LimitBacklog()])
def test_a_refusal_is_the_service_at_work(error: SigningError) -> None:
    """Requests for what is not allowed do not spend the error budget."""
    account = Account(failed(error))
    assert (account.jobs("bad"), account.jobs("good")) == (0, 1)


def test_a_signed_job_is_good_and_its_time_counts() -> None:
    """From the enqueue on."""
    job = job_in_work(None, 2)
    job.slice_done(0, signed(2))
    account = Account(job)
    assert account.jobs("good") == 1
    assert account.seconds == pytest.approx(time.time(), abs=60)  # it was enqueued in 1970


def test_one_digest_that_we_failed_spoils_the_job() -> None:
    """The client has to come back for it."""
    job = job_in_work(None, 2)
    job.slice_done(0, SliceOutcome(None, 3, b"f" * 32, (b"s", None), {1: WireError.of(HsmFault())}))
    assert Account(job).jobs("bad") == 1


def test_a_job_that_another_worker_has_is_not_counted_here() -> None:
    """The other worker counts it."""
    job = job_in_work()
    job.slice_done(0, signed(1))
    account = Account(job, CommitStatus.FENCED)
    assert (account.jobs("good"), account.jobs("bad")) == (0, 0)


def test_what_is_ours_is_known_to_the_tree_of_errors() -> None:
    """Each reason that counts as bad is of the closed set."""
    assert set() < _OURS <= set(BY_REASON)


@pytest.mark.parametrize(
    "known, error, issuer, outcome",
    [
        (True, None, "ci", "done"),
        (True, GrantExhausted(), "ci", "grant.exhausted"),
        (False, GrantRefused(), "other", "grant.refused"),
    ],
)
def test_jobs_under_grants_are_counted_by_issuer(
    known: bool,
    error: SigningError | None,
    issuer: str,
    outcome: str,
) -> None:
    """A name in a grant whose signature was not verified makes no series: it is a stranger's word."""
    job = job_in_work()
    assert job.envelope is not None
    job.envelope = replace(job.envelope, grant=sealed_grant())
    job.grant = grant() if known else None
    if error is not None:
        job.fail(error)
    registry = CollectorRegistry()
    count_outcomes([(job, CommitStatus.COMMITTED)], Metrics(registry), lambda _: "standard")
    labels = {"tenant": "acme", "issuer": issuer, "outcome": outcome}
    assert registry.get_sample_value("sigmill_grant_jobs_total", labels) == 1


def test_jobs_of_clients_count_as_none_under_grants() -> None:
    """Their metric has no series."""
    registry = CollectorRegistry()
    count_outcomes([(job_in_work(), CommitStatus.COMMITTED)], Metrics(registry), lambda _: "standard")
    assert b"sigmill_grant_jobs_total{" not in generate_latest(registry)
