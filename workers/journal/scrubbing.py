"""Scrubbing: closed segments are read again, so that a rotten byte is found while a copy may still exist.

A segment in use is not read: recovery reads it at the next start, and the scrubber when the next one has begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import read_regular
from workers.journal.acknowledged import acknowledged_ends
from workers.journal.damage import HEAD, Damage
from workers.journal.segments import read_frames, segment_number, segments_of, strange_segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME: Final = "scrub"
"""In the state directory: the report of the last round."""

MOST_PLACES: Final = 1000
"""Damaged places in a report; a lost disk has more."""

_LARGEST_REPORT_BYTES: Final = 1024 * 1024


class ScrubbedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Damaged place of a segment."""

    segment: str
    offset: int
    size_bytes: int


class ScrubReport(msgspec.Struct, frozen=True, kw_only=True):
    """A round over all segments that were closed when it began. Unix time in s; ``ended_at`` is None while it goes round."""

    began_at: float
    ended_at: float | None
    segments: Annotated[int, msgspec.Meta(ge=0)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]
    damage: tuple[ScrubbedPlace, ...] = ()


class Scrub:
    """One round over the closed segments of a log. Only reads; blocks, for as long as its caller wants.

    ``damage``: damaged places so far; ``names``: segments that were read; ``unread``: the one in use; ``size_bytes``: bytes that were read.
    """

    def __init__(self, folder: Path, *, in_use: str) -> None:
        """List the segments; ``in_use`` is the name of the one that is written to, or ''. Raises ``OSError``."""
        files = segments_of(folder)
        ends = acknowledged_ends(files)
        self.damage = strange_segments(folder)
        self.names: set[str] = set()
        self.unread = {in_use}
        self.size_bytes = 0
        self._frames = self._read(
            [(file, ends.get(segment_number(file))) for file in files if file.name != in_use]
        )

    def read(self, most_bytes: int) -> bool:
        """Read on, about so many bytes, and one frame at least; whether there is more."""
        until = self.size_bytes + most_bytes
        for size_bytes in self._frames:
            self.size_bytes += size_bytes
            if self.size_bytes >= until:
                return True
        return False

    def _read(self, files: list[tuple[Path, int | None]]) -> Iterator[int]:
        for file, end in files:
            offset = 0
            try:
                for behind, payload in read_frames(file, self.damage, end=end):
                    offset = behind
                    yield HEAD.size + len(payload)
            except FileNotFoundError:
                continue  # removed by the operator's policy
            except OSError:  # the disk has lost a sector of it
                self.damage.append(Damage(file.name, offset, _rest(file, offset)))
            self.names.add(file.name)


def _rest(file: Path, offset: int) -> int:
    try:
        return max(file.stat().st_size - offset, 0)
    except OSError:
        return 0


def write_report(state_dir: Path, report: ScrubReport) -> None:
    """Replace the report. Raises ``OSError``."""
    replace_durably(state_dir / FILE_NAME, msgspec.json.encode(report))


def read_report(state_dir: Path) -> ScrubReport | None:
    """The last report; None where there is none that can be read."""
    try:
        raw = read_regular(state_dir / FILE_NAME, largest_bytes=_LARGEST_REPORT_BYTES)
        return msgspec.json.decode(raw, type=ScrubReport)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
