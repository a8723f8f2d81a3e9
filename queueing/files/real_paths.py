"""Real paths of many files: the links on the way to a folder are resolved once for all files in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NOT_IN_THEIR_FOLDER: Final = frozenset({"", os.curdir, os.pardir})


class RealPaths:
    """Real paths, as ``os.path.realpath`` has them. To be used for a moment: a folder that is replaced meanwhile is not seen."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, file: Path | str) -> str:
        """The path without links. A file that is not there has the one that it would get. Raises ``ValueError`` for a NUL in the name."""
        above, name = os.path.split(os.fspath(file))
        if name in _NOT_IN_THEIR_FOLDER:
            return os.path.realpath(file)
        folder = self._folders.get(above)
        if folder is None:
            folder = self._folders[above] = os.path.realpath(above)
        path = os.path.join(folder, name)  # noqa: PTH118 - strings: a run has many thousand files
        try:
            os.readlink(path)  # noqa: PTH115
        except OSError:
            return path
        return os.path.realpath(path)
