"""The checker: does a history keep the invariants? Pure: it knows nothing of how the history came about.

I1 nothing accepted is lost · I2 no foreign signature · I3 one outcome, which never changes · I4 every HSM
operation is on record, every release once · I5 recovery within the bound, and no one else is held up meanwhile ·
I6 clear codes, limits kept, nothing lost uncounted.
An answer ``info`` may be either. A job that was set aside counts as ended only with evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.faults.checker import exports, jobs, leases, limits, operations, progress, surroundings
from tests.faults.checker.ledger import Ledger, Violation
from tests.faults.history import Event

Check = Callable[[Ledger], Iterator[Violation]]


def _left(ledger: Ledger) -> Iterator[Violation]:
    """Everything is back to where it began: no key, no process, no descriptor too many."""
    for event in ledger.left:
        yield Violation("I1 left over", event.what)


SERVICE_CHECKS: tuple[Check, ...] = (
    jobs.lost,
    jobs.refused,
    jobs.foreign,
    jobs.changed,
    leases.stale,
    leases.overlapping,
    leases.slow,
    operations.uncovered,
    operations.unexplained,
    operations.unclosed,
    operations.unrecorded,
    exports.invalid,
    exports.unexported,
    progress.held_up,
    limits.exceeded,
    surroundings.uncounted,
    surroundings.port_lost,
    surroundings.copied_token_used,
    _left,
)

CLIENT_AND_HSM_CHECKS: tuple[Check, ...] = (
    jobs.lost,
    jobs.foreign,
    jobs.changed,
    operations.unexplained_without_log,
)
"""For a worker that has no log and no fences (stock arq): what can be judged from outside."""


EXPORTED_SIGNATURES = "signature in an export"
"""Signatures in the verified exports, counted as operations."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict of the checker. ``operations``: how many events it went through, by kind, and ``EXPORTED_SIGNATURES``.

    ``recoveries``: seconds from each heal until all that was open then had ended, by kind of fault.
    """

    violations: list[Violation]
    operations: Counter[str]
    recoveries: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rules(self) -> set[str]:
        """The rules that were broken."""
        return {violation.rule for violation in self.violations}


def check(events: Sequence[Event], checks: Sequence[Check] = SERVICE_CHECKS) -> Verdict:
    """Judge a history. O(events), and the pairs of claims of one job."""
    ledger = Ledger(events)
    recoveries: dict[str, list[float]] = {}
    for fault, seconds in leases.recoveries(ledger):
        recoveries.setdefault(fault.kind, []).append(seconds)
    operations = Counter(str(type(event).__struct_config__.tag) for event in events)
    operations[EXPORTED_SIGNATURES] = sum(export.signatures for export in ledger.exports_read)
    return Verdict(
        violations=[violation for one in checks for violation in one(ledger)],
        operations=operations,
        recoveries=recoveries,
    )
