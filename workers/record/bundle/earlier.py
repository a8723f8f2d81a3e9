"""Files of an earlier export into the folder of a new one: an entry that is not in the new one is kept, and what the new one replaces is removed.

The names say it all: an export writes a tile, a bundle of entries or items under one name only, which has its place in the log and its width.
The content is not compared: what is damaged on the host by now replaces what the earlier export has of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import OutputUnwritable
from queueing.errors.counts import counted
from queueing.files.beneath import remove_beneath
from workers.record.bundle.others import place_of, unread_names

if TYPE_CHECKING:
    from pathlib import Path


class OtherEntries(OutputUnwritable):
    """The folder has entries of an earlier export that the new one does not have: they would be given away with it, or lost."""

    hint = "Name another folder for `--out`, or move the earlier bundle away."


def check_covered(out: Path, origin: str, size: int, wanted: range) -> None:
    """Check that what ``out`` has of this origin is of the range ``wanted``, and of a log of at most ``size`` entries.

    Retention may have removed the other entries from the host since, so they are not removed here. Raises ``OtherEntries``, or ``OSError``.
    """
    count, first = 0, ""
    for name in unread_names(out / origin, size, wanted.start, wanted.stop):
        place = place_of(name)
        if place is None:
            continue
        if place.end > size or (
            place.has_entries and not wanted.start <= place.first < place.end <= wanted.stop
        ):
            count, first = count + 1, min(first, name) if first else name
    if count:
        raise OtherEntries(
            f"{out / origin} has {counted(count, 'file')} of an earlier export that this one does not cover (entries {wanted.start:,} to"
            f" {wanted.stop:,} of {size:,}): {first}{', …' if count > 1 else ''}"
        )


def remove_replaced(out: Path, origin: str, size: int, written: range) -> None:
    """Remove tiles of hashes and entries that an earlier export has written, and that are no part of this one: the log was shorter then.

    To be called when this one is whole. Files of other names are not touched, and no link is followed. Raises ``OSError``.
    """
    for name in list(unread_names(out / origin, size, written.start, written.stop)):
        if place_of(name) is not None:
            remove_beneath(out, (origin, *name.split("/")))
