"""Tokens that an operator drained on this host: one mark each in the state directory, so that a restart keeps them.

The command line creates and removes the marks; the worker reads them twice a second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from queueing.files.durable_file import (
    create_durably,
    give_to_owner_of_parent,
    make_folder,
    remove_durably,
)
from queueing.files.folders import entries

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("sigmill.lanes")


class DrainedTokens:
    """Marks in one state directory; each is an empty file named after the token."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "drained-tokens"

    def names(self) -> frozenset[str]:
        """Names of all drained tokens. Raises ``OSError`` where the folder cannot be read."""
        return frozenset(file.name for file in entries(self._folder, missing_ok=True))

    def drain(self, token: str) -> bool:
        """Mark the token durably; whether it was not marked before. Raises ``OSError``.

        As root the marks belong to the owner of the state directory, so that the worker can read them; also those in a
        folder that root made before.
        """
        make_folder(self._folder)
        give_to_owner_of_parent(self._folder)
        return create_durably(self._folder / token)

    def resume(self, token: str) -> bool:
        """Remove the mark durably; whether there was one. Raises ``OSError``."""
        return remove_durably(self._folder / token)


class DrainWatch:
    """Drained tokens as they were last read: ``names``. A folder that cannot be read changes nothing, and is logged once."""

    def __init__(self, marks: DrainedTokens) -> None:
        self._marks = marks
        self._error = ""
        self.names: frozenset[str] = frozenset()

    def read(self) -> frozenset[str]:
        """Read the marks again; returns the tokens that were drained or resumed since."""
        try:
            names = self._marks.names()
        except OSError as error:
            if self._error != str(error):  # it is read twice a second, and stays as it is until a person acts
                self._error = str(error)
                log.error("token.drains_unreadable", extra={"why": str(error)})
            return frozenset()
        self._error = ""
        changed, self.names = names ^ self.names, names
        return changed
