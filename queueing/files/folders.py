"""Listing of folders, and presence of files: an error of the file system is raised, and never looks like nothing there.

``Path.glob`` and ``rglob`` of Python 3.13 take a folder that cannot be read for an empty one, those before it do so where
the right to read is missing; ``Path.exists`` and ``is_dir`` of 3.14 take each error for absence.
"""

from __future__ import annotations

import heapq
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def entries(folder: Path, *, suffix: str = "", missing_ok: bool = False) -> list[Path]:
    """Paths of what is in the folder, sorted, of names that end in ``suffix``; without the subfolders' content.

    ``missing_ok``: a folder that is not there is an empty one. Raises ``OSError`` with the folder's name.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(folder / entry.name for entry in found if entry.name.endswith(suffix))
    except FileNotFoundError:
        if missing_ok:
            return []
        raise
    except OSError as error:
        if error.filename is None:  # readdir(3) names none
            error.filename = str(folder)
        raise


def last_names(folder: Path, most: int) -> list[str]:
    """The last names in the folder in their order, at most ``most``, the last one first; none where there is no folder.

    Of a folder with millions of names no more than these are in memory. Raises ``OSError``.
    """
    try:
        with os.scandir(folder) as found:
            return heapq.nlargest(most, (entry.name for entry in found))
    except FileNotFoundError:
        return []


def entries_below(folder: Path) -> list[Path]:
    """Paths of all that is in the folder and its subfolders, sorted; symbolic links are not followed. Raises ``OSError``."""
    found = entries(folder)
    for file in list(found):
        if stat.S_ISDIR(file.lstat().st_mode):
            found += entries_below(file)
    return sorted(found)


def is_there(file: Path) -> bool:
    """Whether there is a file or folder of this name, symbolic links followed. Raises ``OSError`` if that cannot be determined."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
