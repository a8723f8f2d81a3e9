"""Removing old segments: a policy of the operator's (``[log] keep_days``), never of a full disk.

A segment goes when its last record is older than that and nothing from it is open: no intent without an end, no
outcome that may not have been released. The newest always stays, so that numbers never begin anew.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from queueing.files.durable_file import sync_folder
from workers.journal.segments import segment_number, segments_of

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("sigmill.log")


def remove_old(folder: Path, *, below: int, before_s: float) -> int:
    """Remove segments with a number below ``below`` last written before ``before_s`` (Unix time); how many.

    Raises ``OSError``. O(segments).
    """
    removed = 0
    for file in segments_of(folder)[:-1]:
        if segment_number(file) < below and file.stat().st_mtime < before_s:
            file.unlink()
            removed += 1
    if removed:
        sync_folder(folder)
        log.info("log.removed", extra={"segments": removed})
    return removed


def folder_bytes(folder: Path) -> int:
    """What the segments take, in bytes. O(segments)."""
    return sum(file.stat().st_size for file in segments_of(folder))
