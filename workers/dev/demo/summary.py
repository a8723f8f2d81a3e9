"""Counts of signed, verified and failed digests, per tenant and in total."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueing.protocol.algorithms import Algorithm


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of one tenant. ``elapsed_s`` is the time from the common start to its last signature."""

    tenant: str
    algorithm: Algorithm
    digests: int
    signed: int = 0
    verified: int = 0
    elapsed_s: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """Number of digests with an error or with a signature that does not verify."""
        return self.failures.total() + self.signed - self.verified

    @property
    def done(self) -> int:
        """Number of digests with an outcome."""
        return self.signed + self.failures.total()


def row(tallies: Iterable[Tally]) -> dict[str, Any]:
    """Sums over some tenants, with the rate over the slowest one's time."""
    group = list(tallies)
    signed = sum(t.signed for t in group)
    elapsed_s = max((t.elapsed_s for t in group), default=0.0)
    return {
        "digests": sum(t.digests for t in group),
        "signed": signed,
        "verified": sum(t.verified for t in group),
        "failed": sum(t.failed for t in group),
        "failures": dict(sum((t.failures for t in group), Counter[str]())),
        "elapsed_s": round(elapsed_s, 3),
        "signatures_per_s": round(signed / elapsed_s, 1) if elapsed_s else 0.0,
    }


def summary(tallies: list[Tally]) -> dict[str, Any]:
    """Totals, then counts per tenant and per algorithm."""
    algorithms = sorted({t.algorithm for t in tallies})
    return {
        **row(tallies),
        "tenants": {t.tenant: {"algorithm": t.algorithm, **row([t])} for t in tallies},
        "algorithms": {a: row(t for t in tallies if t.algorithm == a) for a in algorithms},
    }
