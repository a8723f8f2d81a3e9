"""History of a job in the write-ahead log of a host: every intent, outcome and release, with its time.

Only reads, while a worker may be writing: a half-written frame at the end counts as not there yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from queueing.errors import SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.grants.owners import grant_of
from queueing.protocol.jobs import decode_result
from workers.journal.acknowledged import acknowledged_ends
from workers.journal.records import (
    IntentRecord,
    OutcomeRecord,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    decode_record,
)
from workers.journal.segments import segment_number, segments_of
from workers.journal.unreadable_places import read_past

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from queueing.protocol.envelope import Envelope
    from workers.journal.damage import Damage

JobRecord = IntentRecord | OutcomeRecord | ReleasedRecord | ReturnedRecord | UnknownRecord


class JobEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of a job. Times in Unix ms of this host's clock; ``lease`` is ``worker:fence``.

    ``what``: intent (about to be signed, durable before the HSM is asked), outcome (durable before it is released),
    committed or repeated (Redis took it), fenced (another worker had the job by then), returned (given back unsigned),
    returned-in-doubt (a lane may have signed some of it), unknown (its process ended in between). ``dropped`` of an outcome:
    signatures that lanes made, or may have made, and that are not in the result. ``subject``, ``evidence_sha256`` (hex) of an
    intent: of its grant. ``from_record``: from an entry of the record, which has no lease; the segment of the log was removed.
    """

    at_ms: int
    what: str
    lease: str
    attempt: int | None = None
    client: str = ""
    key: str = ""
    key_version: int | None = None
    algorithm: str = ""
    digests: int | None = None
    issued_at_ms: int | None = None
    signed: int | None = None
    failed: int | None = None
    code: str = ""
    dead_letter: bool = False
    dropped: int = 0
    subject: str = ""
    evidence_sha256: str = ""
    from_record: bool = False


class Histories(msgspec.Struct, frozen=True, kw_only=True):
    """Events by job id, in the order of the log; how much of it was read, and which places of it are damaged."""

    events: dict[bytes, list[JobEvent]]
    segments: int
    size_bytes: int
    damage: tuple[str, ...] = ()


def histories_of(folder: Path, job_ids: Collection[bytes], *, since_s: float) -> Histories:
    """Read the segments that were written to after ``since_s`` (Unix time): some hundred MB a second.

    What the disk does not give is read around at once, and is in ``damage``. A segment that was removed meanwhile is skipped.
    Raises ``OSError`` for all other errors.
    """
    events: dict[bytes, list[JobEvent]] = {job_id: [] for job_id in job_ids}
    segments = size_bytes = 0
    damage: list[Damage] = []
    files = segments_of(folder)
    ends = acknowledged_ends(files)
    for file in files:
        try:
            facts = file.stat()
            if facts.st_mtime < since_s:
                continue
            for payload in read_past(file, damage, end=ends.get(segment_number(file))):
                if any(job_id in payload for job_id in events):
                    _note(payload, events)
        except FileNotFoundError:
            continue
        segments += 1
        size_bytes += facts.st_size
    return Histories(events=events, segments=segments, size_bytes=size_bytes, damage=tuple(map(str, damage)))


def _note(payload: bytes, events: dict[bytes, list[JobEvent]]) -> None:
    try:
        record = decode_record(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # of a later version
    if isinstance(record, JobRecord) and record.job_id in events:
        events[record.job_id].append(event_of(record))


def event_of(record: JobRecord) -> JobEvent:
    """The record in words. No digest and no signature is in it."""
    event = JobEvent(at_ms=record.at_ms, what="unknown", lease=record.lease.decode("utf-8", "replace"))
    replace = msgspec.structs.replace
    match record:
        case IntentRecord():
            return _intent(event, record)
        case OutcomeRecord():
            return _outcome(event, record)
        case ReleasedRecord():
            return replace(event, what=record.how)
        case ReturnedRecord():
            return replace(event, what="returned-in-doubt" if record.maybe_signed else "returned")
        case UnknownRecord():
            return event


def _intent(event: JobEvent, record: IntentRecord) -> JobEvent:
    event = msgspec.structs.replace(event, what="intent", attempt=record.attempt)
    try:
        envelope = read_unverified(record.sealed).envelope
    except SigningError:
        return event
    return msgspec.structs.replace(
        with_grant(event, envelope),
        client=envelope.client,
        key=envelope.key,
        key_version=envelope.key_version or None,
        algorithm=envelope.algorithm,
        digests=len(envelope.digests),
        issued_at_ms=envelope.issued_at_ms,
    )


def with_grant(event: JobEvent, envelope: Envelope) -> JobEvent:
    """The event with subject and evidence of the envelope's grant; the same without one that can be read."""
    grant = grant_of(envelope)
    if grant is None:
        return event
    evidence = grant.evidence_sha256.hex()
    return msgspec.structs.replace(event, subject=grant.subject, evidence_sha256=evidence)


def _outcome(event: JobEvent, record: OutcomeRecord) -> JobEvent:
    event = msgspec.structs.replace(
        event, what="outcome", dead_letter=bool(record.dead_letter), dropped=record.dropped
    )
    try:
        outcome = decode_result(record.result).outcome
    except SigningError as error:
        outcome = error
    if isinstance(outcome, SigningError):
        return msgspec.structs.replace(event, code=outcome.reason)
    signed = sum(signature is not None for signature in outcome.signatures)
    return msgspec.structs.replace(event, signed=signed, failed=len(outcome.signatures) - signed)
