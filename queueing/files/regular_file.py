"""Regular files only, opened without waiting; those from other users or programs are read up to the bytes that they may have.

A pipe without a writer would block its reader for ever, and one without a reader its writer; ``/dev/zero`` would fill the memory.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

NOT_A_FILE: Final = frozenset({errno.EFBIG, errno.EINVAL, errno.EISDIR})
"""Errors of a file that is too long, of a device or a pipe, or of a folder: to read it again does not help."""

_IRREGULAR: Final = "not a regular file"


def open_regular(file: Path) -> io.BufferedReader:
    """Open a regular file for reading, symbolic links followed. Raises ``OSError``; a pipe, a socket or a device is ``EINVAL``."""
    return io.open(file, "rb", opener=lambda _, flags: regular_descriptor(file, flags))  # noqa: UP020 - Path.open has no opener


def regular_descriptor(file: Path, flags: int = os.O_RDONLY) -> int:
    """Descriptor of a regular file, opened with these flags; one that is made is its owner's alone. Raises as ``open_regular`` does."""
    try:
        descriptor = os.open(file, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or for writing a pipe without a reader
            raise OSError(errno.EINVAL, _IRREGULAR, str(file)) from error
        raise
    try:
        _refuse_irregular(file, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_whole(file: Path) -> bytes:
    """All bytes of a regular file of our own, however many. Raises as ``open_regular`` does."""
    with open_regular(file) as stream:
        return stream.read()


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
        raise OSError(errno.EINVAL, _IRREGULAR, str(file))
