"""Reading of small files from other users or programs: regular files only, and no more bytes than they may have.

A pipe without a writer would block its reader for ever, and ``/dev/zero`` would fill the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

NOT_A_FILE: Final = frozenset({errno.EFBIG, errno.EINVAL, errno.EISDIR})
"""Errors of a file that is too long, of a device or a pipe, or of a folder: to read it again does not help."""


def open_regular(file: Path) -> BinaryIO:
    """Open a regular file for reading, symbolic links followed. Raises ``OSError``; a pipe or a device is ``EINVAL``."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe is opened without waiting
    try:
        _refuse_irregular(file, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(file: Path, *, largest_bytes: int) -> bytes:
    """All bytes of a regular file. Raises ``OSError``; a larger file is ``EFBIG``, and not read further."""
    with open_regular(file) as stream:
        raw = stream.read(largest_bytes + 1)
    if len(raw) > largest_bytes:
        raise OSError(errno.EFBIG, f"larger than {largest_bytes} bytes", str(file))
    return raw


def _refuse_irregular(file: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(file))
