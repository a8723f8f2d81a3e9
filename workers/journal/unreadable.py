"""Reading around what a disk does not give any more: the other blocks of a segment are read, and stand where they were."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from queueing.files.regular_file import regular_descriptor

if TYPE_CHECKING:
    from pathlib import Path

UNREADABLE: Final = frozenset({errno.EIO, errno.EBADMSG, errno.EILSEQ, errno.ENODATA, errno.EUCLEAN})
"""Errors of reading a lost sector, or one whose checksum is wrong. Others say nothing of the bytes."""

BLOCK_BYTES: Final = 4096
"""A page: the kernel reads no less, so that smaller reads would find no more."""

_FILL: Final = b"\xff"
"""Stands for a byte that cannot be read. No frame begins with it, and no crash leaves a tail of it."""


def read_around(file: Path, start: int, end: int | None, lost: list[range]) -> bytes:
    """Bytes of a file from ``start`` to ``end`` or its end. Ranges that cannot be read are filled, and added to ``lost``.

    Raises ``OSError`` for all other errors. A block costs one try, which a failing disk may take seconds for.
    """
    descriptor = regular_descriptor(file)
    try:
        size = os.fstat(descriptor).st_size
        stop = size if end is None else min(end, size)
        parts = []
        offset = start
        while offset < stop:
            behind = min(offset - offset % BLOCK_BYTES + BLOCK_BYTES, stop)
            data = _block(descriptor, offset, behind)
            if data is None:
                lost.append(range(offset, behind))
                data = _FILL * (behind - offset)
            parts.append(data)
            offset += len(data)
            if not data:
                break  # the file is shorter than it was
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _block(descriptor: int, offset: int, behind: int) -> bytes | None:
    """Bytes of one block, perhaps not all of them; None where it cannot be read."""
    try:
        return os.pread(descriptor, behind - offset, offset)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return None
