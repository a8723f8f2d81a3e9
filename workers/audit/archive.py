"""A copy of a sealed log in another place, compared with its seal: then the disk that it came from may go."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from workers.audit.seal import SEAL_NAME, Seal, sealed_segment
from workers.journal.segment_writer import sync_folder

if TYPE_CHECKING:
    from pathlib import Path


class ArchiveDiffers(Exception):
    """A file in the archive is not the one that was sealed: it is another log's, or the copy went wrong."""


def archive(folder: Path, seal: Seal, to: Path) -> None:
    """Copy the segments, then the seal, durably; each copy is read back. O(bytes of the log).

    A copy that is there already and is right stays, so that one that was interrupted goes on. Whoever finds the seal in
    an archive finds all of it. Raises ``ArchiveDiffers``, or ``OSError``.
    """
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    for segment in seal.segments:
        if not (to / segment.name).exists():
            _copy(folder / segment.name, to / segment.name)
        if sealed_segment(to / segment.name) != segment:
            raise ArchiveDiffers(f"{segment.name} in it is not the one that was sealed")
    sync_folder(to)
    _copy(folder / SEAL_NAME, to / SEAL_NAME)
    sync_folder(to)


def _copy(file: Path, to: Path) -> None:
    draft = to.with_name(f".{to.name}.new")
    shutil.copy(file, draft)
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(to)
