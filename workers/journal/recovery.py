"""Recovery of a log at a start: intents to close, and outcomes that may not have been released."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from workers.journal.acknowledged import acknowledged_ends, head_of
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
from workers.journal.segments import read_segment, segment_number, segments_of

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


def recover(folder: Path, *, now_s: float | None = None) -> Recovered:
    """Read the log from the oldest segment with an open claim. Raises ``OSError``.

    O(bytes of those segments). A torn tail ends the reading of its segment; damage costs the damaged records only.
    """
    now_s = time.time() if now_s is None else now_s
    intents: dict[Claim, IntentRecord | CanaryIntentRecord] = {}
    outcomes: dict[Claim, OutcomeRecord] = {}
    open_claims = OpenClaims()
    damage: list[Damage] = []
    files = segments_of(folder)
    ends = acknowledged_ends(files)
    for file in _relevant(files):
        number = segment_number(file)
        for record in _records(file, damage, ends.get(number)):
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


def _relevant(files: list[Path]) -> list[Path]:
    """Segments from the oldest one with a claim that was open when the newest readable segment began."""
    for file in reversed(files):
        head = head_of(file)
        if head is not None:
            return [each for each in files if segment_number(each) >= head.first_open]
    return files


def _records(file: Path, damage: list[Damage], end: int | None) -> Iterator[Record]:
    for payload in read_segment(file, damage, end=end):
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
