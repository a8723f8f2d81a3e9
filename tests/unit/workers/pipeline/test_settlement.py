"""Settlement of finished jobs: the order of its steps, and the refund."""

from __future__ import annotations

from typing import cast

import pytest

from queueing.errors import HsmFault, KeyUnknown, SigningError, TokenUnavailable
from tests.support.fakes.active_jobs import job_in_work
from workers.active_job import ActiveJob
from workers.active_jobs import ActiveJobs
from workers.limits.grant_budgets import GrantBudgets
from workers.limits.key_budgets import KeyBudgets
from workers.limits.rate_limiter import RateLimiter
from workers.pipeline.settlement import JobSettlement


class Witness:
    """The limits and the claim loop; each call with the number of jobs that are still leased."""

    def __init__(self, jobs: ActiveJobs) -> None:
        self.jobs = jobs
        self.calls: list[tuple[str, int]] = []

    def settle(self, _: ActiveJob) -> None:
        self.calls.append(("budget", len(self.jobs)))

    def refund(self, _: ActiveJob) -> None:
        self.calls.append(("refund", len(self.jobs)))

    def job_settled(self, _: ActiveJob) -> None:
        self.calls.append(("claim loop", len(self.jobs)))


class GrantWitness:
    """Budgets of grants, with the calls of the witness."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def settle(self, _: ActiveJob) -> None:
        self.witness.calls.append(("grant", len(self.witness.jobs)))


def calls_for(job: ActiveJob) -> list[tuple[str, int]]:
    jobs = ActiveJobs()
    jobs.add(job)
    witness = Witness(jobs)
    settlement = JobSettlement(
        budgets=cast("KeyBudgets", witness),
        grants=cast("GrantBudgets", GrantWitness(witness)),
        limiter=cast("RateLimiter", witness),
        jobs=jobs,
        listener=witness,
    )
    settlement.settle(job)
    return witness.calls


def test_the_claim_loop_is_told_last() -> None:
    """It claims with the limits as they are after the job, whose lease is given up before."""
    job = job_in_work()
    job.requeue(TokenUnavailable())
    assert calls_for(job) == [("budget", 1), ("grant", 1), ("refund", 1), ("claim loop", 0)]


@pytest.mark.parametrize("error", [HsmFault(), KeyUnknown()])
def test_only_jobs_that_were_surely_not_signed_are_refunded(error: SigningError) -> None:
    """A published job is paid for, and so is one on which the HSM failed: it may have signed."""
    job = job_in_work()
    if error.retryable:
        job.requeue(error)
    else:
        job.fail(error)
    assert calls_for(job) == [("budget", 1), ("grant", 1), ("claim loop", 0)]
