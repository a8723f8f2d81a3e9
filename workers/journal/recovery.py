"""Recovery of a log at a start: intents to close, and outcomes that may not have been released."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from workers.journal.acknowledged import acknowledged_ends, given_head
from workers.journal.open_claims import OpenClaims
from workers.journal.records import (
    CanaryIntentRecord,
    CanaryOutcomeRecord,
    IntentRecord,
    OutcomeRecord,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    decode_record,
    unknown_canary,
)
from workers.journal.segments import segment_number, segments_of, strange_segments
from workers.journal.unreadable_places import UnreadablePlaces, read_past

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.journal.damage import Damage
    from workers.journal.open_claims import Claim
    from workers.journal.records import Record


@dataclass(slots=True)
class Recovered:
    """Rest of the log of an ended process: outcomes to publish again, and intents to close as unknown.

    ``damage``: damaged places of the segments that were read; records in them are lost.
    """

    unreleased: list[OutcomeRecord] = field(default_factory=list)
    unknown: list[UnknownRecord | CanaryOutcomeRecord] = field(default_factory=list)
    open_claims: OpenClaims = field(default_factory=OpenClaims)
    damage: list[Damage] = field(default_factory=list)


def recover(
    folder: Path, *, now_s: float | None = None, unreadable: UnreadablePlaces | None = None
) -> Recovered:
    """Read the log from the oldest segment with an open claim.

    O(bytes of those segments). A torn tail ends the reading of its segment; damage costs the damaged records only. What the
    disk does not give raises ``SegmentUnreadable`` until ``unreadable`` has given it up, and is damage then. Raises ``OSError``.
    """
    places = unreadable or UnreadablePlaces()
    now_s = time.time() if now_s is None else now_s
    intents: dict[Claim, IntentRecord | CanaryIntentRecord] = {}
    outcomes: dict[Claim, OutcomeRecord] = {}
    open_claims = OpenClaims()
    damage = strange_segments(folder)
    files = _relevant(segments_of(folder), places)
    ends = acknowledged_ends(files, places=places)
    for file in files:
        number = segment_number(file)
        for record in _records(read_past(file, damage, end=ends.get(number), places=places)):
            open_claims.apply(record, number)
            _apply(record, intents, outcomes)
    now_ms = int(now_s * 1000)
    return Recovered(
        unreleased=list(outcomes.values()),
        unknown=[_closing(intent, now_ms) for intent in intents.values()],
        open_claims=open_claims,
        damage=damage,
    )


def _closing(intent: IntentRecord | CanaryIntentRecord, now_ms: int) -> UnknownRecord | CanaryOutcomeRecord:
    """Record that closes an intent that may have been signed."""
    if isinstance(intent, IntentRecord):
        return UnknownRecord(now_ms, intent.tenant, intent.job_id, intent.lease)
    return unknown_canary(intent, now_ms)


def _relevant(files: list[Path], places: UnreadablePlaces) -> list[Path]:
    """Segments from the oldest one with a claim that was open when the newest readable segment began."""
    for file in reversed(files):
        head = given_head(file, places)
        if head is not None:
            return [each for each in files if segment_number(each) >= head.first_open]
    return files


def _records(payloads: Iterator[bytes]) -> Iterator[Record]:
    for payload in payloads:
        try:
            yield decode_record(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # a record of a later version


def _apply(
    record: Record,
    intents: dict[Claim, IntentRecord | CanaryIntentRecord],
    outcomes: dict[Claim, OutcomeRecord],
) -> None:
    match record:
        case IntentRecord() | CanaryIntentRecord():
            intents[record.job_id, record.lease] = record
        case OutcomeRecord():
            intents.pop((record.job_id, record.lease), None)
            outcomes[record.job_id, record.lease] = record
        case ReleasedRecord():
            outcomes.pop((record.job_id, record.lease), None)
        case ReturnedRecord() | UnknownRecord() | CanaryOutcomeRecord():
            intents.pop((record.job_id, record.lease), None)
        case _:
            pass  # events begin and end no claim
