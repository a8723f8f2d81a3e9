"""Digests of grants that the write-ahead log has: of every job with an outcome, or with none that says that nothing was signed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import GrantExhausted, LogUnavailable, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.grants.grant import read_grant
from queueing.protocol.jobs import content_hash, decode_result
from workers.journal.acknowledged import acknowledged_ends
from workers.journal.records import IntentRecord, OutcomeRecord, ReturnedRecord, decode_record
from workers.journal.segments import segment_number, segments_of
from workers.journal.unreadable_places import read_past
from workers.lanes.authorisation import is_unauthenticated
from workers.lanes.signatories import GRANT_SKEW_MS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueing.protocol.grants.grant import Grant
    from workers.journal.damage import Damage
    from workers.journal.records import Record

RETRY_S: Final = 5.0
"""Time after which a job of an uncounted grant is claimed again while it may still be the clocks that make its grant look old."""

Counted = tuple["Grant", bytes, int]
"""Grant, content of a job under it, and its digests."""


@dataclass(slots=True)
class LogCount:
    """Contents of jobs under grants in a log. ``lacking``: why something may be missing; '' where all was read."""

    counted: list[Counted] = field(default_factory=list)
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class UncountedGrants:
    """Grants that a former process may have used, where the log does not say how much: none of their digests is signed here.

    ``started_ms``: the start (Unix ms). A grant of a later beginning was used by no former process of this host, whatever the
    difference of the clocks of host and issuer, of which each may be ``GRANT_SKEW_MS``.
    """

    started_ms: int

    def check(self, grant: Grant, now_ms: int) -> None:
        """Raise ``GrantExhausted`` (final), for which a client asks for another grant at once.

        ``LogUnavailable`` (retryable) within two minutes of the start: another grant could still look as old.
        """
        newest_ms = self.started_ms + GRANT_SKEW_MS
        if grant.not_before_ms > newest_ms:
            return
        why = "the write-ahead log of this host could not be read whole at its start: how many digests of the grant are signed is not known"
        if now_ms <= newest_ms + GRANT_SKEW_MS:
            raise LogUnavailable(why, retry_after_s=RETRY_S)
        raise GrantExhausted(f"{why}, and it counts as used up")


def counted_before(folder: Path, *, since_s: float) -> LogCount:
    """Contents of jobs under grants in the segments that were written to since (Unix time). O(their bytes).

    A place that the disk does not give, a damaged place and a record that cannot be decoded are ``lacking``, and the rest is counted.
    """
    found = LogCount()
    open_jobs: dict[tuple[bytes, bytes], Counted] = {}
    try:
        for record in _records(folder, since_s, found):
            _apply(record, open_jobs, found.counted)
    except OSError as error:
        found.lacking = error.strerror or type(error).__name__
    found.counted += open_jobs.values()  # perhaps signed: the process ended before it knew
    return found


def _records(folder: Path, since_s: float, found: LogCount) -> Iterator[Record]:
    files = segments_of(folder)
    ends = acknowledged_ends(files)
    damage: list[Damage] = []
    for file in files:
        if file.stat().st_mtime < since_s:
            continue
        for payload in read_past(file, damage, end=ends.get(segment_number(file))):
            try:
                yield decode_record(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                found.lacking = f"{file.name}: a record of a later version"
    lost = [place for place in damage if not place.record_recovered]
    if lost:
        found.lacking = str(lost[0])


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
