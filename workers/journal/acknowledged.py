"""Acknowledged bytes of segments: where the writer abandoned one after a failed write, its tail was never durable.

The head of the next segment of the same process says how many bytes count. Without that, a record whose append failed
would be read back as if its caller had been told that it is durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workers.journal.records import OpenedRecord, decode_record
from workers.journal.segments import read_segment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def acknowledged_ends(files: Iterable[Path]) -> dict[int, int]:
    """Bytes that count, by number of segment; a segment that is not in it counts whole. One small read per file.

    Raises ``OSError``.
    """
    ends: dict[int, int] = {}
    for file in files:
        try:
            head = head_of(file)
        except FileNotFoundError:  # removed meanwhile, and with it only the end of one that is older
            continue
        if head is not None and head.previous is not None:
            number, size_bytes = head.previous
            ends[number] = size_bytes
    return ends


def head_of(file: Path) -> OpenedRecord | None:
    """First record of a segment; None where it cannot be read. Raises ``OSError``."""
    payload = next(read_segment(file), None)
    if payload is None:
        return None
    try:
        head = decode_record(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return head if isinstance(head, OpenedRecord) else None
