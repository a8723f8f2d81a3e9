"""Drafts: files that are written beside a file, ``.NAME.RANDOM.new``, and renamed into its place when they are whole.

A process that is killed leaves its draft, and the next writer of the file removes it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.files.folders import entries
from queueing.files.real_paths import RealPaths

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

DRAFT_SUFFIX: Final = ".new"
"""Of drafts, ``.NAME.RANDOM.new``: ``sweep`` knows them by it."""

_RANDOM_CHARACTERS: Final = 8
_MOST_NAME_BYTES: Final = 255
"""Of a name in a folder: NAME_MAX."""

_DRAFT_LASTS_S: Final = 3600.0
"""A draft so old was left by a process that was killed: no file here takes as long to write."""


def draft_prefix(name: str) -> str:
    """Beginning of the names of a file's drafts, ``.NAME.``; a name of nearly 255 bytes is cut, so that its drafts have room."""
    most = _MOST_NAME_BYTES - len("..") - _RANDOM_CHARACTERS - len(DRAFT_SUFFIX)
    return f".{os.fsdecode(os.fsencode(name)[:most])}."


def sweep_folder(folder: Path, targets: Collection[str]) -> None:
    """Remove the drafts of files of these names that crashed processes left more than an hour ago. Raises nothing."""
    prefixes = {draft_prefix(target) for target in targets}
    try:
        drafts = entries(folder, suffix=DRAFT_SUFFIX)
    except OSError:
        return  # writing the new draft reports why
    for draft in drafts:
        prefix, dot, _ = draft.name.removesuffix(DRAFT_SUFFIX).rpartition(".")
        if prefix + dot in prefixes:
            with contextlib.suppress(OSError):  # another process swept it up, or owns it
                if draft.stat().st_mtime < time.time() - _DRAFT_LASTS_S:
                    draft.unlink()


def sweep(files: Iterable[Path]) -> None:
    """Remove the drafts of these files that crashed writers left more than an hour ago. Raises nothing."""
    real, names = RealPaths(), defaultdict[str, set[str]](set)
    for file in files:
        with contextlib.suppress(OSError, ValueError):  # no file can have the name; using it says so
            folder, name = os.path.split(real.of(file))
            names[folder].add(name)
    for folder, targets in names.items():
        sweep_folder(Path(folder), targets)
