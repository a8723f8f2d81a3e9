"""Ends of jobs by a lane whose clock is wrong: as expired, so that the client may submit the same job again."""

from __future__ import annotations

from tests.faults.checker.ledger import JobFile, Ledger
from tests.faults.history import LogRecord

_CODES = {"job.expired", "envelope.expired"}

REFUSED_S = 2.0
"""From a lane's refusal by its clock, which may be right again by then, until the worker has the outcome of the job."""


def ends_by_clock(ledger: Ledger, job: JobFile) -> list[LogRecord]:
    """Outcomes of the job in a log that say that it has expired, of a time when the lanes' clock was wrong."""
    stepped = [fault for fault in ledger.faults if "clock." in fault.kind]
    return [
        end
        for end in job.recorded("outcome")
        if end.code in _CODES and any(f.began_at <= end.at <= f.at + REFUSED_S for f in stepped)
    ]


def replaced_ends(ledger: Ledger, job: JobFile) -> list[LogRecord]:
    """Those after which a client submitted the job again, so that it had another end.

    One more submit that ended after the commit is needed for each; the first submit of all began the job.
    """
    found = []
    for end in ends_by_clock(ledger, job):
        committed = [c for c in job.commits if c.result == end.result and c.how == "committed"]
        if committed and any(s.how != "fail" and s.at >= committed[0].began_at for s in job.submitted[1:]):
            found.append(end)
    return found
