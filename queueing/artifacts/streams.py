"""Files in pieces: reading of spans, and the state by which a change of the file is noticed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from queueing.errors import ArtifactInvalid, InputUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 1 << 20
"""A multiple of eight, and some milliseconds of hashing."""


def read_exactly(stream: BinaryIO, start: int, size_bytes: int) -> bytes:
    """The bytes from ``start``. Raises ``ArtifactInvalid`` where the file ends before, and ``InputUnreadable``."""
    stream.seek(start)
    found = _read(stream, size_bytes)
    if len(found) != size_bytes:
        raise ArtifactInvalid("the file is truncated: it ends before what its headers announce")
    return found


def span(stream: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The bytes from ``start`` to ``end`` in chunks. Raises ``ArtifactInvalid`` where the file ends before, and ``InputUnreadable``."""
    stream.seek(start)
    left = end - start
    while left > 0:
        chunk = _read(stream, min(left, CHUNK_BYTES))
        if not chunk:
            raise ArtifactInvalid("the file is truncated: it ends before what its headers announce")
        left -= len(chunk)
        yield chunk


def _read(stream: BinaryIO, size_bytes: int) -> bytes:
    """Read from a file that another one may be written from: an error of the disk is told of the right one."""
    try:
        return stream.read(size_bytes)
    except OSError as error:
        raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file: which one it is, its size, its number of names, and the times of its last changes."""

    device: int
    inode: int
    size_bytes: int
    names: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, stream: BinaryIO) -> Self:
        """The state of an open file."""
        return cls._from(os.fstat(stream.fileno()))

    @classmethod
    def _from(cls, found: os.stat_result) -> Self:
        return cls(
            found.st_dev, found.st_ino, found.st_size, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns
        )

    @contextmanager
    def unchanged(self, path: Path) -> Iterator[None]:
        """Within the block the file is read. Raises as ``check_same`` at its end, also where the file looked truncated meanwhile."""
        try:
            yield
        except ArtifactInvalid:
            self.check_same(path)
            raise
        self.check_same(path)

    def check_same(self, path: Path) -> None:
        """Raise ``InputUnreadable`` if another process has changed, replaced or removed the file since. Raises ``OSError``.

        A name that it has gained or lost since, as when another hard link of it was signed, is no change of its content: that
        moves the time of its last change of status, and not that of its content.
        """
        try:
            now = self._from(path.stat())
        except FileNotFoundError:
            raise changed_meanwhile() from None
        if now.names != self.names:
            now = replace(now, names=self.names, changed_ns=self.changed_ns)
        if now != self:
            raise changed_meanwhile()


def changed_meanwhile() -> InputUnreadable:
    """The error of a file that another process has changed since it was hashed."""
    return InputUnreadable(
        "the file was changed by another process while it was being signed",
        hint="Sign it again when its writer is done.",
    )
