"""Retention of segments by the operator's policy (``[log] keep_days``), never by a full disk.

A segment is removed when its last record is older than that and no claim of it is open. The newest segment always
stays, so that segment numbers never start again.
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
    """Remove segments with a number below ``below`` that were last written before ``before_s`` (Unix time).

    Returns how many. Raises ``OSError``. O(segments).
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
    """Size of all segments in bytes. O(segments)."""
    return sum(file.stat().st_size for file in segments_of(folder))
