"""Cache of what small files contain: a file is read again when its name leads to another file, time or size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MOST_FILES: Final = 1024
"""Files in memory; beyond it the one that was read first is read again when it is asked for."""


class FileReader(Protocol[T_co]):
    """Reader of one kind of file."""

    def read(self, file: Path) -> T_co:
        """The content. Raises what it raises; nothing is kept then."""


class FileCache(Generic[T]):
    """Contents of files by their path. One ``stat`` for a file that has not changed."""

    def __init__(self, reader: FileReader[T]) -> None:
        self._reader = reader
        self._kept: dict[Path, tuple[tuple[int, int, int], T]] = {}

    def get(self, file: Path) -> T | None:
        """The content of the file; None where there is none. Raises ``OSError``, and what the reader raises."""
        try:
            facts = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._kept.pop(file, None)
            return None
        mark = facts.st_mtime_ns, facts.st_size, facts.st_ino
        kept = self._kept.get(file)
        if kept is not None and kept[0] == mark:
            return kept[1]
        content = self._reader.read(file)
        self._kept.pop(file, None)
        while len(self._kept) >= MOST_FILES:
            del self._kept[next(iter(self._kept))]
        self._kept[file] = mark, content
        return content
