"""I1, I2 and I3: nothing accepted is lost, each signature is its tenant's over its digest, one outcome for ever."""

from __future__ import annotations

from collections.abc import Iterator

from queueing.errors import BY_REASON, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from tests.faults.checker.ledger import TAIL_BYTES, JobFile, Ledger, Violation
from tests.faults.history import Answered, Commit

POISON_CRASHES = 3
"""Lanes or workers that must have ended over a job before it may be set aside (``worker.poison_attempts``)."""


def lost(ledger: Ledger) -> Iterator[Violation]:
    """I1: what a client was told is accepted has ended."""
    for job in ledger.jobs.values():
        if job.accepted and not job.final:
            yield Violation("I1 accepted job lost", f"{job.job}: no answer")
        if job.accepted:
            yield from _unfounded(ledger, job)


def refused(ledger: Ledger) -> Iterator[Violation]:
    """I2: what was refused was never signed, also where its id was that of a job that was."""
    for job in ledger.jobs.values():
        refused, taken = _refused_and_taken(job)
        for digest in refused - taken:
            if ledger.signs_of.get((job.tenant, digest[-TAIL_BYTES:])):
                yield Violation("I2 refused job signed", job.job)


def _refused_and_taken(job: JobFile) -> tuple[set[bytes], set[bytes]]:
    """The digests of submits that failed, and of those that did not, or of which nobody knows."""
    refused: set[bytes] = set()
    taken: set[bytes] = set()
    for invoked in job.invoked:
        ends = [end for end in job.submitted if end.client == invoked.client and end.at >= invoked.at]
        how = min(ends, key=lambda end: end.at).how if ends else "info"
        (refused if how == "fail" else taken).update(invoked.digests)
    return refused, taken


def _unfounded(ledger: Ledger, job: JobFile) -> Iterator[Violation]:
    """Errors that nothing in the history accounts for: an innocent job that failed is a lost one."""
    for answer in job.final:
        if answer.code == "job.poisoned":
            if not set(job.digests) & ledger.breaking and _crashes(ledger, job) < POISON_CRASHES:
                yield Violation("I1 innocent job set aside", job.job)
            if not any(outcome.dead_letter for outcome in job.recorded("outcome")):
                yield Violation("I1 set aside without a letter", job.job)
        elif answer.code:
            yield Violation("I1 accepted job failed", f"{job.job}: {answer.code}")
        for i, code in answer.codes.items():
            if job.digests[i] not in ledger.refused:
                yield Violation("I1 accepted digest failed", f"{job.job}[{i}]: {code}")
        yield from _vague(job, answer)


def _vague(job: JobFile, answer: Answered) -> Iterator[Violation]:
    """I6: every code is of the closed set, and what can be tried again is not an answer for good."""
    for code in (*answer.codes.values(), *([answer.code] if answer.code else [])):
        error: type[SigningError] | None = BY_REASON.get(code)
        if error is None:
            yield Violation("I6 no such code", f"{job.job}: {code}")
        elif error.retryable and answer.how == "fail":
            yield Violation("I6 retryable error as the job's end", f"{job.job}: {code}")


def _crashes(ledger: Ledger, job: JobFile) -> int:
    """Evidence against the job: lanes of its token that ended while a worker had it, and leases that ran out."""
    lanes = sum(len(open_crashes(ledger, job, intent.worker, intent.at)) for intent in job.recorded("intent"))
    returned = {(back.worker, back.fence) for back in job.gave_back}
    return lanes + sum((claim.worker, claim.fence) not in returned for claim in job.claimed[:-1])


def open_crashes(ledger: Ledger, job: JobFile, worker: str, began_at: float) -> list[float]:
    """Times at which lanes of the tenant ended on this worker, from ``began_at`` until it closed the job's next record."""
    closing = [r.at for r in job.records if r.worker == worker and r.what != "intent" and r.at >= began_at]
    until = min(closing, default=float("inf")) + 0.05  # records and log lines have milliseconds
    key = ledger.keys.get(job.tenant)
    return [
        ended.at
        for ended in ledger.lanes_ended
        if key
        and ended.worker == worker
        and ended.token == key.token
        and began_at - 0.05 <= ended.at <= until
    ]


def foreign(ledger: Ledger) -> Iterator[Violation]:
    """I2: every answer verifies under its tenant's key over what its tenant asked, and the HSM signed nothing else."""
    keys = {tenant: PublicKey.from_spki(key.spki) for tenant, key in ledger.keys.items()}
    asked = {
        (job.tenant, digest[-TAIL_BYTES:])
        for job in ledger.jobs.values()
        for invoked in job.invoked
        for digest in invoked.digests
    }
    for (tenant, tail), signs in ledger.signs_of.items():
        if (tenant, tail) not in asked:
            yield Violation("I2 signed what nobody asked", f"{tenant}: {len(signs)} operations")
    for job in ledger.jobs.values():
        for answer in {answer.signatures: answer for answer in job.final if answer.how == "ok"}.values():
            if len(answer.signatures) != len(job.digests):
                yield Violation("I2 wrong number of signatures", job.job)
                continue
            for i, signature in enumerate(answer.signatures):
                if i not in answer.codes and not _verifies(keys[job.tenant], job, i, signature):
                    yield Violation("I2 signature does not verify", f"{job.job}[{i}]")


def _verifies(key: PublicKey, job: JobFile, i: int, signature: bytes) -> bool:
    try:
        key.verify(Algorithm(job.invoked[0].algorithm), job.digests[i], signature)
    except SigningError:
        return False
    return True


def changed(ledger: Ledger) -> Iterator[Violation]:
    """I3: all who saw an outcome saw the same, at any time; it was committed once, and stands in a log."""
    for job in ledger.jobs.values():
        seen = {(answer.how, answer.signatures, answer.code) for answer in job.final}
        if len(seen) > 1:
            yield Violation("I3 outcome changed", f"{job.job}: {len(seen)} outcomes were seen")
        committed = [commit for commit in job.commits if commit.how == "committed"]
        if len(committed) > 1:
            yield Violation("I3 committed twice", f"{job.job}: by {', '.join(c.worker for c in committed)}")
        if len({commit.result for commit in job.commits if commit.how in {"committed", "repeated"}}) > 1:
            yield Violation("I3 two results accepted", job.job)
        yield from _commits_after(job, committed)


def _commits_after(job: JobFile, committed: list[Commit]) -> Iterator[Violation]:
    """An accepted commit ends the job: nobody is given it afterwards."""
    if not committed:
        return
    ended_at = committed[0].at
    for claim in job.claimed:
        if claim.from_s > ended_at:
            yield Violation("I3 claimed after its end", f"{job.job}: by {claim.worker}")
