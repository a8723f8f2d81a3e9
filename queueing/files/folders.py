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
    from collections.abc import Callable, Iterator
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


def regular_entries(folder: Path, *, suffix: str = "", missing_ok: bool = False) -> list[Path]:
    """Paths as ``entries`` gives them, of regular files and links to such alone. Raises ``OSError``."""
    return [path for path in entries(folder, suffix=suffix, missing_ok=missing_ok) if _is(stat.S_ISREG, path)]


def strange_entries(folder: Path, *, suffix: str = "", missing_ok: bool = False) -> list[Path]:
    """Paths as ``entries`` gives them, of pipes, sockets, devices, and links to such: nothing that can be read. Raises ``OSError``."""
    return [path for path in entries(folder, suffix=suffix, missing_ok=missing_ok) if _is(_is_strange, path)]


def strange_below(folder: Path) -> list[Path]:
    """Paths of what ``strange_entries`` tells of the folder and its subfolders, sorted. Raises ``OSError``."""
    return [path for path in entries_below(folder) if _is(_is_strange, path)]


def _is_strange(mode: int) -> bool:
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    try:
        return kind(path.stat().st_mode)
    except FileNotFoundError:  # removed meanwhile, or a link to nothing
        return False


def last_names(folder: Path, most: int) -> list[str]:
    """The last names in the folder in their order, at most ``most``, the last one first; none where there is no folder.

    Of a folder with millions of names no more than these are in memory. Raises ``OSError``.
    """
    try:
        with os.scandir(folder) as found:
            return heapq.nlargest(most, (entry.name for entry in found))
    except FileNotFoundError:
        return []


def each_entry(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Each entry of the folder, in the order of the disk: one is in memory at a time. Raises ``OSError`` with the folder's name."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except OSError as error:
        if error.filename is None:  # readdir(3) names none
            error.filename = str(folder)
        raise


def names_of(folder: int) -> list[str]:
    """Names of all that is in the folder of this descriptor, which may have another path by now. Raises ``OSError``."""
    with os.scandir(folder) as found:
        return sorted(entry.name for entry in found)


def entries_below(folder: Path) -> list[Path]:
    """Paths of all that is in the folder and its subfolders, sorted; symbolic links are not followed. Raises ``OSError``."""
    found: list[Path] = []
    folders = [folder]
    while folders:
        for file in entries(folders.pop()):
            found.append(file)
            if stat.S_ISDIR(file.lstat().st_mode):
                folders.append(file)
    return sorted(found)


def names_below(folder: Path, deepest: int) -> Iterator[str]:
    """Names, relative to the folder, of all below it that is no folder, in the order of the disk.

    Folders are entered up to ``deepest`` names; one that is deeper is named itself. Symbolic links are not followed. As many folders are
    open, and names in memory. Raises ``OSError``.
    """
    listings = [("", each_entry(folder))]
    while listings:
        above, listing = listings[-1]
        entry = next(listing, None)
        if entry is None:
            listings.pop()
            continue
        name = above + entry.name
        if len(listings) <= deepest and entry.is_dir(follow_symlinks=False):
            listings.append((f"{name}/", each_entry(folder / name)))
        else:
            yield name


def is_there(file: Path) -> bool:
    """Whether there is a file or folder of this name, symbolic links followed. Raises ``OSError`` if that cannot be determined."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
