"""Rate limits: what the HSM's module signed for a tenant is within burst + rate * time, in every window.

Each operation of the module belongs to the claim of its job that was answered last before it, and counts at the time of
that claim (Redis' clock, which the script charges by): a claim is charged whole, and its digests are signed later. A digest
counts once for each claim: another operation of the same claim replaces one that was lost, and other rules ask for its reason.

A bucket that is filled by these charges (GCRA) is over its limit exactly if some window of claims is; so in a window of
operations there are at most burst + rate * (its length + the age of the oldest claim in it). There is no other slack than
a millisecond of the rate, because a history has the times of claims in whole milliseconds. While a change is under way,
from the edit until every worker has adopted it, a claim may be by either limit, and the wider one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.checker.ledger import TAIL_BYTES, JobFile, Ledger, Violation
from tests.faults.history import Claimed, HsmSign, Limits

ROUNDING_S = 0.001
MOST_JOB_DIGESTS = 1024
"""A bucket is never fuller than its burst and the largest job on top (``queueing/redis/lua/rate_limit.lua``)."""


@dataclass(frozen=True, slots=True)
class _Charge:
    """Digests signed by a claim at this time."""

    at: float
    job: str
    digests: int


def exceeded(ledger: Ledger) -> Iterator[Violation]:
    """Check the signed digests of each tenant that had a limit."""
    for tenant in sorted({limits.tenant for limits in ledger.limits}):
        changes = [limits for limits in ledger.limits if limits.tenant == tenant]
        yield from _over(tenant, changes, _charges(ledger, tenant))


def _charges(ledger: Ledger, tenant: str) -> list[_Charge]:
    found = []
    for job in ledger.jobs.values():
        if job.tenant == tenant:
            found += [_Charge(claim.from_s, job.job, n) for claim, n in _signed_by_claim(ledger, job)]
    return sorted(found, key=lambda charge: charge.at)


def _signed_by_claim(ledger: Ledger, job: JobFile) -> list[tuple[Claimed, int]]:
    """The claims of a job that had digests signed, and how many."""
    signed: dict[int, set[bytes]] = {}
    for digest in set(job.digests):
        for sign in ledger.signs_of.get((job.tenant, digest[-TAIL_BYTES:]), ()):
            claim = _claim_before(job, sign)
            if claim is not None and sign.rv == 0:
                signed.setdefault(claim, set()).add(digest)
    return [(job.claimed[i], len(digests)) for i, digests in signed.items()]


def _claim_before(job: JobFile, sign: HsmSign) -> int | None:
    """Number of the last claim that Redis had answered before the operation."""
    before = [i for i, claim in enumerate(job.claimed) if claim.from_s <= sign.at + ROUNDING_S]
    return max(before, key=lambda i: job.claimed[i].from_s, default=None)


def _over(tenant: str, changes: Sequence[Limits], charges: Sequence[_Charge]) -> Iterator[Violation]:
    """Fill the bucket by the charges, in the order of time; its level is in seconds of the rate."""
    level_s, last_s = 0.0, 0.0
    for charge in charges:
        level_s, last_s = max(level_s - (charge.at - last_s), 0.0), charge.at
        possible = _in_force(changes, charge.at)
        if not possible:
            continue
        level_s = min(level_s, max(limits.most_s for limits in possible))
        if all(
            level_s + limits.needed_s(charge.digests) > limits.burst_s + ROUNDING_S for limits in possible
        ):
            yield Violation(
                "I6 rate limit exceeded",
                f"{tenant}: {charge.job}: {charge.digests} digests at {level_s:.3f} s of the rate ahead",
            )
        level_s += min(limits.cost_s(charge.digests) for limits in possible)


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit, in seconds of its rate."""

    rate_per_s: float
    burst_s: float
    cost: float

    @property
    def most_s(self) -> float:
        return self.burst_s + self.cost_s(MOST_JOB_DIGESTS)

    def cost_s(self, digests: int) -> float:
        return digests * self.cost / self.rate_per_s

    def needed_s(self, digests: int) -> float:
        """Room that the claim needs: a job larger than the burst needs an empty bucket."""
        return min(self.cost_s(digests), self.burst_s)


def _in_force(changes: Sequence[Limits], at: float) -> list[_Limit]:
    """The limits by which a claim at that time may have been; none where one of them is no limit."""
    settled = [limits for limits in changes if limits.at < at]
    possible = [*settled[-1:], *(limits for limits in changes if limits.began_at <= at <= limits.at)]
    if not settled or any(limits.rate_per_s == 0 for limits in possible):
        return []
    return [_Limit(limits.rate_per_s, limits.burst / limits.rate_per_s, limits.cost) for limits in possible]
