"""A copy of a sealed log in another place, compared with its seal: then the disk that it came from may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.files.durable_file import copy_durably, make_folder, sync_folder
from queueing.files.folders import is_there
from workers.audit.seal import SEAL_NAME, Seal, sealed_segment

if TYPE_CHECKING:
    from pathlib import Path


class ArchiveDiffers(Exception):
    """A file in the archive is not the one that was sealed: it is another log's, or the copy went wrong."""


def archive(folder: Path, seal: Seal, to: Path) -> None:
    """Copy the segments, then the seal, durably; each copy is read back. O(bytes of the log).

    A correct copy that is there already stays, so that an interrupted run can be repeated. An archive with a seal is
    complete: the seal is copied last. Raises ``ArchiveDiffers``, or ``OSError``.
    """
    make_folder(to)
    for segment in seal.segments:
        if not is_there(to / segment.name):
            copy_durably(folder / segment.name, to / segment.name)
        if sealed_segment(to / segment.name) != segment:
            raise ArchiveDiffers(f"{segment.name} in it is not the one that was sealed")
    sync_folder(to)  # a copy of an interrupted run may lack its name on disk: the seal comes after it
    copy_durably(folder / SEAL_NAME, to / SEAL_NAME)
