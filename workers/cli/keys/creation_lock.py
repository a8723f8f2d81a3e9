"""Lock of the commands that make keys or statements: one at a time on a host."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.errors import CreationBusy
from queueing.files.regular_file import regular_descriptor
from workers.cli.shell.interrupts import with_clean_up

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope

_LOCK_NAME: Final = ".creation.lock"
"""Beside the tenants' files. It stays there, empty: if it were removed, two commands could lock two files of its name."""

_LOCK_MODE: Final = 0o644
"""Less what the folder does not grant, whatever the umask: other users open it, too, and to lock it is no writing (flock(2))."""


@contextlib.contextmanager
def one_creation_at_a_time(scope: ServiceScope) -> Iterator[None]:
    """Hold off other operators from here to the written file: two keys would get one version and one label, two statements one file.

    Other operators are those with the same tenants' folder, also by another service's file, or with the same service's file. A lost
    terminal or SIGTERM ends the creation as Ctrl-C does: what it made is named and on record. Raises ``CreationBusy`` where
    another command on this host is creating a key now.
    """
    with contextlib.ExitStack() as held:
        _lock(held, regular_descriptor(scope.file))
        _lock_folder(held, scope.tenants_dir)
        with with_clean_up():
            yield


def _lock_folder(held: contextlib.ExitStack, folder: Path) -> None:
    """Lock the tenants' folder; one that is missing, or in which nothing can be written, is not locked: no tenant's file changes there."""
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(folder / _LOCK_NAME, flags, _LOCK_MODE)
    except OSError:
        return
    with contextlib.suppress(OSError):  # of another user, whose command has set it
        os.fchmod(descriptor, folder.stat().st_mode & _LOCK_MODE)
    _lock(held, descriptor)


def _lock(held: contextlib.ExitStack, descriptor: int) -> None:
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CreationBusy(
            "another command is creating a key, or its statement, on this host now; nothing was made"
        ) from None
