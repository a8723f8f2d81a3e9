"""Leases: one owner at a time, and whose fence is not the last one changes nothing. I5: recovery within the bound."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.checker.ledger import JobFile, Ledger, Violation
from tests.faults.history import Claimed, Fault

CLOCK_SLACK_S = 0.005  # the scripts round to milliseconds


def stale(ledger: Ledger) -> Iterator[Violation]:
    """No commit is accepted after a claim with a higher fence was answered."""
    for job in ledger.jobs.values():
        for commit in job.commits:
            later = [c for c in job.claimed if c.fence > commit.fence and c.at <= commit.began_at]
            if commit.how == "committed" and later:
                yield Violation("I3 stale commit accepted", f"{job.job}: by {commit.worker}")


def overlapping(ledger: Ledger) -> Iterator[Violation]:
    """No claim is answered while another's lease is valid and its owner has not begun to end it."""
    for job in ledger.jobs.values():
        claims = sorted(job.claimed, key=lambda claim: claim.from_s)
        for i, claim in enumerate(claims):
            for other in claims[i + 1 :]:
                if other.fence == claim.fence and other.worker == claim.worker:
                    continue
                if other.from_s < _valid_until(job, claim, other.from_s) - CLOCK_SLACK_S:
                    yield Violation("I3 two owners at once", f"{job.job}: {claim.worker} and {other.worker}")


def _valid_until(job: JobFile, claim: Claimed, before_s: float) -> float:
    """End of the lease as far as is certain; only what was known before ``before_s`` counts."""

    def is_ours(fence: int, worker: str) -> bool:
        return fence == claim.fence and worker == claim.worker

    extended = [e.until_s for e in job.extended if is_ours(e.fence, e.worker) and e.at <= before_s]
    ends = [g.began_at for g in job.gave_back if is_ours(g.fence, g.worker)]
    ends += [c.began_at for c in job.commits if is_ours(c.fence, c.worker)]
    return min(max([claim.until_s, *extended]), *ends, float("inf"))


def slow(ledger: Ledger) -> Iterator[Violation]:
    """I5: what was open when a fault was healed has ended within the fault's bound."""
    for fault, recovery_s in recoveries(ledger):
        if recovery_s > fault.bound_s:
            yield Violation("I5 slow recovery", f"{fault.kind}: {recovery_s:.1f} s, bound {fault.bound_s} s")


def recoveries(ledger: Ledger) -> list[tuple[Fault, float]]:
    """For each fault: how long after its heal the last job that was open then had its answer."""
    opened: list[tuple[float, float]] = []
    for job in ledger.jobs.values():
        accepted = [event.at for event in job.submitted if event.how == "ok"]
        if accepted and not set(job.digests) & ledger.breaking:
            opened.append((min(accepted), min((answer.at for answer in job.final), default=float("inf"))))
    found = []
    for fault in ledger.faults:
        ends = [end for begin, end in opened if begin <= fault.at < end]
        found.append((fault, max(ends, default=fault.at) - fault.at))
    return found
