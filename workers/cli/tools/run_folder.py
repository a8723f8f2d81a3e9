"""Private folder of one `sigmill run`. Those that killed runs have left are removed by the next run of the same user."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from queueing.files.folders import each_entry, names_of
from queueing.files.socket_place import NO_LOCKS
from queueing.unix_time import HostClock

PREFIX: Final = "sigmill-run-"
MARKER: Final = "in-use"
"""File in the folder, which its run has locked, with the id of the host's boot. It gets its name when it is locked: one that is not locked
was left. Hosts and virtual machines that share TMPDIR need not see the locks of each other, and leave alone what has another id."""

_MOST_SEEN: Final = 10_000
"""Entries of TMPDIR that a run looks at: a start takes milliseconds, also where millions are there."""

_MOST_REMOVED: Final = 100
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """A folder of mode 0700 below TMPDIR within the block, in the place of those that were left. Raises ``OSError``."""
    sweep(Path(tempfile.gettempdir()))
    folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with contextlib.ExitStack() as held:
        try:
            _mark(held, Path(folder.name))
            yield Path(folder.name)
        finally:
            folder.cleanup()  # while it is marked


def sweep(below: Path) -> None:
    """Remove folders of this user that killed runs have left in ``below``. Raises nothing."""
    with contextlib.suppress(OSError):
        seen = itertools.islice(each_entry(below), _MOST_SEEN)
        left = [entry.name for entry in seen if entry.name.startswith(PREFIX)]
        for name in left[:_MOST_REMOVED]:
            with contextlib.suppress(OSError):  # a link, in use, of another user, or removed meanwhile
                _remove_left(below, name)


def _mark(held: contextlib.ExitStack, folder: Path) -> None:
    """Mark the folder as in use; not on a file system without locks, where no sweep removes it."""
    draft = folder / f"{MARKER}.new"
    descriptor = os.open(draft, _FILE | os.O_CREAT | os.O_EXCL, 0o600)
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        draft.unlink()
    else:
        os.write(descriptor, _boot())
        draft.rename(folder / MARKER)


def _remove_left(below: Path, name: str) -> None:
    """Remove the folder if it was left. By its descriptor: what is put in its place meanwhile stays. Raises ``OSError``."""
    with contextlib.ExitStack() as held:
        folder = os.open(below / name, _FOLDER)
        held.callback(os.close, folder)
        facts = os.fstat(folder)
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) != 0o700:
            return
        marker = os.open(MARKER, _FILE, dir_fd=folder)
        held.callback(os.close, marker)
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        boot = _boot()
        if not boot or os.read(marker, len(boot) + 1) != boot:
            return
        for inside in names_of(folder):
            if inside != MARKER:
                _remove(inside, folder)
        os.unlink(MARKER, dir_fd=folder)  # the last one: a sweep that is killed is continued by the next one
        (below / name).rmdir()


def _remove(name: str, folder: int) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def _boot() -> bytes:
    return HostClock().boot_id().encode()
