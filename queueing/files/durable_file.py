"""Durable replacement of a file: new data synced, renamed into place, folder synced.

A reader sees the old file or the new one, never a part; after a power cut the same holds (rename(2), fsync(2)).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o600


def replace_durably(file: Path, data: bytes, *, mode: int = OWNER_ONLY) -> None:
    """Replace the content of ``file`` by ``data``; returns when both data and name are on disk.

    An existing file keeps its mode and, where the caller may give files away, its owner; a new one gets ``mode``. A
    symbolic link stays a link, and the file behind it is replaced. Costs two fsyncs. Raises ``OSError``, and then
    ``file`` is as it was.
    """
    target = Path(os.path.realpath(file))
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".new")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _copy_owner_and_mode(descriptor, target, mode)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_folder(target.parent)


def remove_durably(file: Path) -> None:
    """Remove ``file`` if it exists; returns when its absence is on disk. Raises ``OSError``."""
    try:
        file.unlink()
    except FileNotFoundError:
        return
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a synced file whose name is not on disk is lost. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_owner_and_mode(descriptor: int, old: Path, mode: int) -> None:
    try:
        facts = old.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    with contextlib.suppress(
        PermissionError
    ):  # only root may give files away; the writer's own files stay its own
        os.fchown(descriptor, facts.st_uid, facts.st_gid)
    os.fchmod(descriptor, facts.st_mode & 0o777)
