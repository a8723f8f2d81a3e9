"""Digests of grants that the write-ahead log has: of every job with an outcome, or with none that says that nothing was signed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from queueing.errors import SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.grants.grant import read_grant
from queueing.protocol.jobs import content_hash, decode_result
from workers.journal.acknowledged import acknowledged_ends
from workers.journal.records import IntentRecord, OutcomeRecord, ReturnedRecord, decode_record
from workers.journal.segments import read_segment, segment_number, segments_of
from workers.lanes.authorisation import is_unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueing.protocol.grants.grant import Grant
    from workers.journal.records import Record

log = logging.getLogger("sigmill.budgets")

Counted = tuple["Grant", bytes, int]
"""Grant, content of a job under it, and its digests."""


def counted_before(folder: Path, *, since_s: float) -> list[Counted]:
    """Contents of jobs under grants in the segments that were written to since (Unix time). O(their bytes).

    A disk that fails ends the reading: the count then lacks what could not be read, and the log says so.
    """
    counted: list[Counted] = []
    open_jobs: dict[tuple[bytes, bytes], Counted] = {}
    try:
        for record in _records(folder, since_s):
            _apply(record, open_jobs, counted)
    except OSError as error:
        log.error("recovery.failed", extra={"why": f"digests of grants: {error.strerror}"})
    return [*counted, *open_jobs.values()]  # perhaps signed: the process ended before it knew


def _records(folder: Path, since_s: float) -> Iterator[Record]:
    files = segments_of(folder)
    ends = acknowledged_ends(files)
    for file in files:
        if file.stat().st_mtime < since_s:
            continue
        for payload in read_segment(file, end=ends.get(segment_number(file))):
            try:
                yield decode_record(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue  # a record of a later version


def _apply(record: Record, open_jobs: dict[tuple[bytes, bytes], Counted], counted: list[Counted]) -> None:
    match record:
        case IntentRecord():
            found = _under_grant(record.sealed)
            if found is not None:
                open_jobs[record.job_id, record.lease] = found
        case OutcomeRecord():
            found = open_jobs.pop((record.job_id, record.lease), None)
            if found is not None and (record.dropped or _has_signatures(record.result)):
                counted.append(found)
        case ReturnedRecord():
            found = open_jobs.pop((record.job_id, record.lease), None)
            if found is not None and record.maybe_signed:
                counted.append(found)
        case _:
            pass


def _under_grant(sealed: bytes) -> Counted | None:
    """The log has what was about to be signed, so the grant is not verified again."""
    try:
        envelope = read_unverified(sealed).envelope
        if envelope.grant is None:
            return None
        return read_grant(envelope.grant).grant, content_hash(envelope), len(envelope.digests)
    except SigningError:
        return None


def _has_signatures(result: bytes) -> bool:
    """Whether a result may have signatures; one that cannot be read counts as one that has."""
    try:
        outcome = decode_result(result).outcome
    except SigningError:
        return True
    if isinstance(outcome, SigningError):
        return not is_unauthenticated(outcome) and not outcome.denied
    return any(signature is not None for signature in outcome.signatures)
