"""Taking secrets out: by where they stand in a configuration file, and by what they are, wherever they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from queueing.config.secrets import Secret
from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MASK: Final = "***"

_SECRET_KEY: Final = re.compile(r"pass|pin\b|_pin|secret|private|credential|auth", re.IGNORECASE)
_NAMES_A_FILE: Final = re.compile(r"_(file|dir)$")
_USER_INFO: Final = re.compile(r"(://[^/@:\s]*):[^/@\s]+@")
_LOGINS: Final = ("none", "protected-path")
_SHORT: Final = 8
"""A shorter secret is taken out where it stands as a word: `1234` must not tear holes into every number."""


def mask_tables(tables: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what may be secret in it; secrets are files in ours, but people err.

    Variables of a token's environment stay where they are paths: what else a vendor's module reads may be its PIN.
    """
    return {key: _masked(key, value) for key, value in tables.items()}


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        if key == "environment":
            return {name: each if str(each).startswith("/") else MASK for name, each in value.items()}
        return mask_tables(value)
    if isinstance(value, list):
        return [_masked(key, each) for each in value]
    if key == "login" and value not in _LOGINS:
        return MASK
    if _SECRET_KEY.search(key) and not _NAMES_A_FILE.search(key):
        return MASK
    return mask_user_info(value) if isinstance(value, str) else value


def mask_user_info(text: str) -> str:
    """Passwords in URLs."""
    return _USER_INFO.sub(rf"\1:{MASK}@", text)


class KnownSecrets:
    """The contents of the host's secret files, to be taken out of everything that leaves it.

    ``unreadable``: files of other users, whose content could not be looked for.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._values: list[str] = []
        self.unreadable: list[str] = []
        for file in files:
            try:
                self._values.append(Secret.from_file(file).reveal())
            except ConfigError:
                self.unreadable.append(str(file))
        self._values.sort(key=len, reverse=True)

    def take_out(self, text: str) -> str:
        """The text with a mask where a secret stood."""
        for value in self._values:
            if len(value) >= _SHORT:
                text = text.replace(value, MASK)
            else:
                text = re.sub(rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])", MASK, text)
        return mask_user_info(text)
