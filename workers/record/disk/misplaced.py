"""Pipes, folders and the like in the place of a file that the sealer makes: they are put out of the way, and told."""

from __future__ import annotations

import itertools
import logging
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("sigmill.record")


def make_way(place: Path) -> None:
    """Put what has this name out of the way, and log it: a folder, a file or a link becomes ``NAME~misplaced-N``; a pipe, a socket or a device is removed.

    Nothing where there is nothing. To be called where nothing of worth is expected under the name. Raises ``OSError``.
    """
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return
    kept_as = ""
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        kept_as = _free_name(place)
        place.rename(place.with_name(kept_as))
    else:
        place.unlink(missing_ok=True)
    log.error("record.misplaced", extra={"file": str(place), "kept_as": kept_as})


def replace_by_rename(file: Path, data: bytes, *, draft: str) -> None:
    """Replace a file, whatever is in its place, by a rename of ``draft`` beside it: readers see the old or the new one; not durable.

    A pipe in either place is replaced without waiting; a folder is put out of the way. Raises ``OSError``.
    """
    beside = file.with_name(draft)
    try:
        _replace(file, data, beside)
    except IsADirectoryError:
        for place in (beside, file):
            if stat.S_ISDIR(_kind(place)):
                make_way(place)
        _replace(file, data, beside)


def _replace(file: Path, data: bytes, beside: Path) -> None:
    beside.unlink(missing_ok=True)  # to open a pipe there would wait
    beside.write_bytes(data)
    beside.replace(file)


def _kind(place: Path) -> int:
    try:
        return place.lstat().st_mode
    except FileNotFoundError:
        return 0


def _free_name(place: Path) -> str:
    """New name beside it, which no tenant, volume or checkpoint can have."""
    names = (f"{place.name}~misplaced-{number}" for number in itertools.count(1))
    return next(name for name in names if not _kind(place.with_name(name)))
