"""I4: the HSM, the write-ahead logs and the releases agree, operation by operation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.faults.checker.jobs import open_crashes
from tests.faults.checker.ledger import TAIL_BYTES, JobFile, Ledger, Violation
from tests.faults.history import LogRecord

HEAD_BYTES = 8  # of the signature, in the module's log
CLOCK_SLACK_S = 0.002  # records have milliseconds


def uncovered(ledger: Ledger) -> Iterator[Violation]:
    """Every C_Sign, whatever came of it, has an intent that was there before it."""
    intents: dict[tuple[str, bytes], float] = {}
    for job in ledger.jobs.values():
        for record in job.recorded("intent"):
            for digest in record.digests:
                key = (record.tenant, digest[-TAIL_BYTES:])
                intents[key] = min(intents.get(key, record.at), record.at)
    for key, signs in ledger.signs_of.items():
        first = intents.get(key)
        early = [sign for sign in signs if first is None or sign.at < first - CLOCK_SLACK_S]
        if early:
            yield Violation("I4 operation without intent", f"{key[0]}: {len(early)} of a digest")


def unexplained(ledger: Ledger) -> Iterator[Violation]:
    """Every signature that the HSM made is in an outcome, or its loss is on record: dropped by an outcome, returned as
    maybe signed, or closed as unknown."""
    for job in ledger.jobs.values():
        dropped = sum(outcome.dropped for outcome in _outcomes(job))
        lost = _lost_with_claims(ledger, job)
        signed = _signed(job)
        beyond_claims = 0
        for digest in set(job.digests):
            made = [s for s in ledger.signs_of.get((job.tenant, digest[-TAIL_BYTES:]), ()) if s.rv == 0]
            kept = signed[digest]
            beyond_claims += max(len(made) - len(kept) - lost, 0)
            if len(made) - len(kept) > lost + dropped:
                yield Violation(
                    "I4 signed too often", f"{job.job}: {len(made)} signatures, {len(kept)} on record"
                )
            if Counter(_head(job, signature) for signature in kept) - Counter(s.head for s in made):
                yield Violation("I4 outcome that the HSM did not make", job.job)
        if beyond_claims > dropped:
            yield Violation(
                "I4 more dropped than on record",
                f"{job.job}: {beyond_claims} signatures, {dropped} on record",
            )


def _head(job: JobFile, signature: bytes) -> bytes:
    """The head as the module wrote it: ECDSA is r || s there, and DER with us (RFC 5480)."""
    if job.invoked and job.invoked[0].algorithm == "ECDSA_SHA_256":
        r, _ = decode_dss_signature(signature)
        return r.to_bytes(32, "big")[:HEAD_BYTES]
    return signature[:HEAD_BYTES]


def _signed(job: JobFile) -> defaultdict[bytes, list[bytes]]:
    """The signatures of each digest in outcomes, once for each claim that had them made."""
    intents = {(record.worker, record.lease) for record in job.recorded("intent")}
    signed: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for outcome in _outcomes(job):
        if (outcome.worker, outcome.lease) in intents and len(outcome.signatures) == len(job.digests):
            for digest, signature in zip(job.digests, outcome.signatures, strict=True):
                if signature:
                    signed[digest].append(signature)
    return signed


def _outcomes(job: JobFile) -> list[LogRecord]:
    """One outcome of each claim: a log that was full has the same one again."""
    return list({(r.worker, r.lease): r for r in job.recorded("outcome")}.values())


def _lost_with_claims(ledger: Ledger, job: JobFile) -> int:
    """Number of signatures of a digest that may have been lost in claims without an outcome: one, and one more for each
    lane that ended meanwhile."""
    intents = {(r.worker, r.lease): r for r in job.recorded("intent")}
    outcomes = {(r.worker, r.lease) for r in job.recorded("outcome")}
    lost = {
        (r.worker, r.lease)
        for r in job.records
        if r.what == "unknown" or (r.what == "returned" and r.maybe_signed)
    }
    began = [intents[claim] for claim in (lost - outcomes) if claim in intents]
    return sum(1 + len(open_crashes(ledger, job, intent.worker, intent.at)) for intent in began)


def unclosed(ledger: Ledger) -> Iterator[Violation]:
    """Every intent has one end in its own worker's log, at the latest when a new process has read that."""
    for job in ledger.jobs.values():
        ends: Counter[tuple[str, str]] = Counter()
        unknown: Counter[tuple[str, str]] = Counter()
        for record in job.records:
            ends[record.worker, record.lease] += record.what in {"outcome", "returned", "unknown"}
            unknown[record.worker, record.lease] += record.what == "unknown"
        for intent in job.recorded("intent"):
            claim = (intent.worker, intent.lease)
            if not ends[claim]:
                yield Violation("I4 intent without end", f"{job.job}: {intent.worker}")
            if unknown[claim] > 1:
                yield Violation("I4 intent closed twice", f"{job.job}: {intent.worker}")


def unrecorded(ledger: Ledger) -> Iterator[Violation]:
    """Check that each result of a client is in a log, and each accepted commit has one release record."""
    killed = {e.worker: e.at for e in ledger.workers_ended if not e.orderly}
    for job in ledger.jobs.values():
        outcomes = {record.signatures for record in job.recorded("outcome")}
        for signatures in {a.signatures for a in job.final if a.how == "ok" and not a.codes}:
            if signatures not in outcomes:
                yield Violation("I4 released but not in the log", job.job)
        released = [record for record in job.recorded("released") if record.how == "committed"]
        if len(released) > 1:
            yield Violation("I4 released twice", f"{job.job}: {_names(released)}")
        committed = [commit for commit in job.commits if commit.how == "committed"]
        if not job.invoked:
            # Of what no client submitted, the log has counters, unless a lane was given it, in this claim, to find that out.
            given = {_fence(intent) for intent in job.recorded("intent")}
            if {_fence(record) for record in job.records} - given:
                yield Violation("I4 record of what nobody submitted", job.job)
            committed = [commit for commit in committed if str(commit.fence) in given]
        if committed and not released:
            commit = committed[0]
            if killed.get(commit.worker, 0.0) < commit.began_at:
                yield Violation("I4 release without record", f"{job.job}: {commit.worker}")


def _fence(record: LogRecord) -> str:
    return record.lease.rpartition(":")[2]


def _names(records: list[LogRecord]) -> str:
    return ", ".join(record.worker for record in records)


def unexplained_without_log(ledger: Ledger) -> Iterator[Violation]:
    """Check without a log: at most one signature of a digest unless a worker crashed."""
    crashes = sum(not event.orderly for event in ledger.workers_ended)
    for job in ledger.jobs.values():
        for digest in set(job.digests):
            made = sum(1 for s in ledger.signs_of.get((job.tenant, digest[-TAIL_BYTES:]), ()) if s.rv == 0)
            if made - 1 > crashes:
                yield Violation("I4 signed too often", f"{job.job}: {made} signatures")
