"""Files of which the disk does not give some bytes any more: the kernel reads what is before them, and then fails with EIO."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

_PREAD = os.pread
_OPEN = io.open


class _Raw(io.RawIOBase):
    """A file with lost bytes, not buffered."""

    def __init__(self, file: Path, lost: range) -> None:
        self._stream = _OPEN(file, "rb", buffering=0)
        self._lost = lost

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        data = _read(self._stream.fileno(), len(buffer), self._stream.tell(), self._lost)
        buffer[: len(data)] = data
        self._stream.seek(len(data), os.SEEK_CUR)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _read(descriptor: int, size: int, offset: int, lost: range) -> bytes:
    if offset in lost:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if offset < lost.start:
        size = min(size, lost.start - offset)
    return _PREAD(descriptor, size, offset)


def lose(patch: pytest.MonkeyPatch, file: Path, lost: range) -> None:
    """Let reads of these bytes of the file fail while the patch lasts."""

    def opened(name: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if mode == "rb" and isinstance(name, str | os.PathLike) and Path(os.fsdecode(name)) == file:
            return io.BufferedReader(_Raw(file, lost))
        return _OPEN(name, mode, *arguments, **more)

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == file:
            return _read(descriptor, size, offset, lost)
        return _PREAD(descriptor, size, offset)

    patch.setattr(io, "open", opened)
    patch.setattr(os, "pread", pread)
