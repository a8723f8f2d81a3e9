"""Digests of files, made in threads while earlier ones are being signed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

from queueing.errors import InputUnreadable
from workers.cli.signing.items import Item

_FILES_PER_CALL: Final = 16
"""A call into a thread costs about 43 us, a small file's hash less than that."""

_CALLS_AHEAD: Final = 16
_THREADS: Final = min(8, (os.cpu_count() or 1) + 2)
_CHUNK_BYTES: Final = 1 << 20
"""Some milliseconds of hashing; after each the thread looks whether it is to stop."""


class HashMeter:
    """Bytes hashed so far, and the file that takes longest just now; stops all threads that hash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[str, int, int]] = {}
        self.stopped = False

    def begin(self, name: str, size_bytes: int) -> None:
        """This thread begins a file."""
        with self._lock:
            self._under_way[threading.get_ident()] = (name, 0, size_bytes)

    def add(self, count_bytes: int) -> None:
        """This thread has hashed so many more bytes."""
        with self._lock:
            name, done, size_bytes = self._under_way[threading.get_ident()]
            self._under_way[threading.get_ident()] = (name, done + count_bytes, size_bytes)

    def end(self) -> None:
        """This thread is done with its file."""
        with self._lock:
            self._under_way.pop(threading.get_ident(), None)

    def largest(self) -> tuple[str, int, int] | None:
        """Name, hashed bytes and size of the file of which most has been hashed; size 0 if unknown."""
        with self._lock:
            return max(self._under_way.values(), key=lambda each: each[1], default=None)


async def hashed(
    files: Iterable[Path], hash_name: str, *, meter: HashMeter | None = None, any_file: bool = False
) -> AsyncIterator[Item]:
    """Hash files in threads, in order, a bounded number ahead. ``any_file``: also what is no regular file."""
    loop = asyncio.get_running_loop()
    source = iter(files)
    meter = meter or HashMeter()
    ahead: deque[asyncio.Future[list[Item]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hash")
    try:
        while True:
            while len(ahead) < _CALLS_AHEAD and (group := list(islice(source, _FILES_PER_CALL))):
                ahead.append(loop.run_in_executor(pool, _hash_files, group, hash_name, meter, any_file))
            if not ahead:
                return
            for item in await ahead.popleft():
                yield item
    finally:
        meter.stopped = True
        pool.shutdown(wait=False, cancel_futures=True)


def hash_file(path: Path, hash_name: str, *, meter: HashMeter | None = None, any_file: bool = False) -> Item:
    """Item of one file, which is read in pieces."""
    name = str(path)
    meter = meter or HashMeter()
    try:
        _refuse_special(path, any_file=any_file)
        digest = _digest(path, hash_name, meter)
    except OSError as error:
        return Item(name=name, error=InputUnreadable(f"the file cannot be read: {error.strerror}"))
    except ValueError as error:  # a NUL in the name
        return Item(name=name, error=InputUnreadable(f"the file cannot be read: {error}"))
    except InputUnreadable as error:
        return Item(name=name, error=error)
    finally:
        meter.end()
    return Item(name=name, hash_name=hash_name, digest=digest)


def _digest(path: Path, hash_name: str, meter: HashMeter) -> bytes:
    digest = hashlib.new(hash_name)
    with path.open("rb", buffering=0) as file:
        meter.begin(str(path), os.fstat(file.fileno()).st_size)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            meter.add(len(chunk))
            if meter.stopped:
                raise InputUnreadable("the command ended before the file was hashed")
    return digest.digest()


def _hash_files(paths: list[Path], hash_name: str, meter: HashMeter, any_file: bool) -> list[Item]:  # noqa: FBT001
    return [hash_file(path, hash_name, meter=meter, any_file=any_file) for path in paths]


def _refuse_special(path: Path, *, any_file: bool) -> None:
    """Raise ``InputUnreadable`` for what may have no end, or block: to be asked before it is opened."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputUnreadable("the file cannot be read: it is a folder")
    if not stat.S_ISREG(mode) and not any_file:
        raise InputUnreadable("this is no regular file (a pipe or a device); --any-file reads it to its end")
