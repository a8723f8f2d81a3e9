"""Seal of a closed log: the list of its segments with their hashes, and that no claim in them is open.

For a decommissioned host: what it signed has been released, and the copy of its log can be compared with this.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors.counts import agreed, counted
from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import open_regular
from workers.journal.acknowledged import acknowledged_ends
from workers.journal.recovery import recover
from workers.journal.segments import damage_of, segment_number, segments_of, strange_segments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workers.journal.damage import Damage

SEAL_NAME: Final = "seal.json"
_SEAL_MODE: Final = 0o644
"""Digests of segments are no secret; the folder is the owner's alone."""


class SealedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment as it lay there."""

    name: str
    size_bytes: int
    sha256: str


class DamagedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a segment whose records could not be read."""

    segment: str
    offset: int
    size_bytes: int


class Seal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``sealed_at``: Unix time in s. A worker that is started again writes segments of its own after these.

    ``damaged``: places that the operator accepted as lost; without them every record of the log was read.
    """

    sealed_at: float
    segments: tuple[SealedSegment, ...]
    damaged: tuple[DamagedPlace, ...] = ()


class OpenLog(Exception):
    """Something in the log has no end yet: a worker must be started on it once more."""

    def __init__(self, *, unreleased: int, unknown: int, events: int = 0) -> None:
        super().__init__(
            f"{counted(unreleased, 'outcome')} {agreed(unreleased, 'is', 'are')} not released,"
            f" {counted(unknown, 'intent')} {agreed(unknown, 'has', 'have')} no outcome,"
            f" {counted(events, 'event')} of commands {agreed(events, 'is', 'are')} not in the log"
        )


class DamagedLog(Exception):
    """The log was not read whole: records may be open in the damaged places."""

    def __init__(self, damage: Sequence[Damage]) -> None:
        more = f", and {len(damage) - 1} more places" if len(damage) > 1 else ""
        super().__init__(f"{damage[0]}{more}")


def seal(folder: Path, *, events: int = 0, accept_damage: bool = False, now_s: float | None = None) -> Seal:
    """Write ``seal.json`` into the segments' folder, durably. O(bytes of the log).

    ``events``: number of events of commands that wait in their spool (``workers.journal.event_spool``).
    ``accept_damage`` lists damaged places in the seal instead of refusing them. The caller owns the folder
    (``workers.state.directory``). Raises ``DamagedLog``, ``OpenLog``, or ``OSError``.
    """
    files = segments_of(folder)
    ends = acknowledged_ends(files)
    damage = strange_segments(folder)
    damage += [place for file in files for place in damage_of(file, end=ends.get(segment_number(file)))]
    if damage and not accept_damage:
        raise DamagedLog(damage)
    left = recover(folder, now_s=now_s)
    if left.unreleased or left.unknown or events:
        raise OpenLog(unreleased=len(left.unreleased), unknown=len(left.unknown), events=events)
    made = Seal(
        sealed_at=time.time() if now_s is None else now_s,
        segments=tuple(sealed_segment(file) for file in segments_of(folder)),
        damaged=tuple(
            DamagedPlace(segment=place.segment, offset=place.offset, size_bytes=place.size_bytes)
            for place in damage
        ),
    )
    text = msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    replace_durably(folder / SEAL_NAME, text, mode=_SEAL_MODE)
    return made


def sealed_segment(file: Path) -> SealedSegment:
    """Entry of a seal for this file. O(its bytes)."""
    with open_regular(file) as stream:
        digest = hashlib.file_digest(stream, "sha256")
        size = stream.tell()
    return SealedSegment(name=file.name, size_bytes=size, sha256=digest.hexdigest())
