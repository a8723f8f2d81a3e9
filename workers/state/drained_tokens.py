"""Tokens that an operator drained on this host: a mark each in the state directory, so a restart forgets none.

The command line makes and removes the marks; the worker looks at them twice a second.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queueing.files.folders import entries

if TYPE_CHECKING:
    from pathlib import Path


class DrainedTokens:
    """The marks of one state directory; each is an empty file named as the token."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "drained-tokens"

    def names(self) -> frozenset[str]:
        """All that are drained. Raises ``OSError`` where the folder cannot be read."""
        return frozenset(file.name for file in entries(self._folder, missing_ok=True))

    def drain(self, token: str) -> bool:
        """Mark the token; whether it was not marked before. Raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(
                os.open(self._folder / token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            )
        except FileExistsError:
            return False
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True

    def resume(self, token: str) -> bool:
        """Remove the mark; whether there was one."""
        try:
            (self._folder / token).unlink()
        except FileNotFoundError:
            return False
        return True
