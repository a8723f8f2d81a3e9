"""I5 while a fault lasts: workers and tenants that it must not hold up have jobs done meanwhile.

Each such fault was held until they had, or for far longer than a job takes (``Scene.hold``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.checker.ledger import JobFile, Ledger, Violation
from tests.faults.history import Fault


def held_up(ledger: Ledger) -> Iterator[Violation]:
    """Check that each tenant had an answer to a job submitted while the fault was in full, and each worker committed one that it
    claimed then."""
    for fault in ledger.faults:
        jobs = list(ledger.jobs.values())
        for tenant in fault.tenants_go_on:
            if not any(job.tenant == tenant and _answered_within(job, fault) for job in jobs):
                yield Violation("I5 tenant held up", f"{fault.kind}: no job of {tenant} was signed meanwhile")
        for worker in fault.workers_go_on:
            if not any(_committed_within(job, worker, fault) for job in jobs):
                yield Violation("I5 worker held up", f"{fault.kind}: {worker} committed no job meanwhile")


def _answered_within(job: JobFile, fault: Fault) -> bool:
    begun = bool(job.invoked) and job.invoked[0].at >= fault.in_full_at
    return begun and any(answer.how == "ok" and answer.at <= fault.over_at for answer in job.final)


def _committed_within(job: JobFile, worker: str, fault: Fault) -> bool:
    fences = {claim.fence for claim in job.claimed if claim.worker == worker and claim.at >= fault.in_full_at}
    return any(
        commit.how == "committed" and commit.fence in fences and commit.at <= fault.over_at
        for commit in job.commits
        if commit.worker == worker
    )
