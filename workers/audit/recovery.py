"""After a start: which intents to close, and which outcomes were durable but perhaps never released."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from workers.audit.records import Intent, Outcome, Released, Returned, Unknown, decode_record
from workers.audit.segments import read_segment, segments_of

if TYPE_CHECKING:
    from pathlib import Path

    from workers.audit.records import Record


@dataclass(slots=True)
class Recovered:
    """What the log of an ended process leaves: outcomes to publish again, and intents to close as unknown."""

    unreleased: list[Outcome] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)


def recover(folder: Path, *, keep_s: float, now_s: float | None = None) -> Recovered:
    """Read the segments that were written in the last ``keep_s``; older results are past their retention.

    O(bytes of those segments); a damaged tail ends a segment, not the reading.
    """
    now_s = time.time() if now_s is None else now_s
    intents: dict[tuple[bytes, bytes], Intent] = {}
    outcomes: dict[tuple[bytes, bytes], Outcome] = {}
    for file in segments_of(folder):
        if file.stat().st_mtime < now_s - keep_s:
            continue
        for payload in read_segment(file):
            try:
                record = decode_record(payload)
            except msgspec.MsgspecError:
                continue  # of a later version: not ours to judge
            _apply(record, intents, outcomes)
    now_ms = int(now_s * 1000)
    return Recovered(
        unreleased=list(outcomes.values()),
        unknown=[Unknown(now_ms, i.tenant, i.job_id, i.lease) for i in intents.values()],
    )


def _apply(
    record: Record, intents: dict[tuple[bytes, bytes], Intent], outcomes: dict[tuple[bytes, bytes], Outcome]
) -> None:
    claim = (record.job_id, record.lease)
    match record:
        case Intent():
            intents[claim] = record
        case Outcome():
            intents.pop(claim, None)
            outcomes[claim] = record
        case Released():
            outcomes.pop(claim, None)
        case Returned() | Unknown():
            intents.pop(claim, None)
