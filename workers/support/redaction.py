"""Redaction of secrets: by their keys in a configuration file, and by their values in any text."""

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
_NAMES_A_FILE: Final = re.compile(r"_(file|dir)\Z")
_USER_INFO: Final = re.compile(r"(://[^/@:\s]*):[^/@\s]+@")
_LOGINS: Final = ("none", "protected-path")
_SHORT: Final = 8
"""Shorter secrets are redacted as whole words only: `1234` must not be replaced inside other numbers."""


def redact_tables(tables: dict[str, Any]) -> dict[str, Any]:
    """Tables of a configuration with possible secrets masked: secrets belong into files, but people make mistakes.

    Variables of a token's environment stay only if they are paths: other values of a vendor's module may be its PIN.
    """
    return {key: _redacted(key, value) for key, value in tables.items()}


def _redacted(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        if key == "environment":
            return {name: each if str(each).startswith("/") else MASK for name, each in value.items()}
        return redact_tables(value)
    if isinstance(value, list):
        return [_redacted(key, each) for each in value]
    if key == "login" and value not in _LOGINS:
        return MASK
    if _SECRET_KEY.search(key) and not _NAMES_A_FILE.search(key):
        return MASK
    return redact_user_info(value) if isinstance(value, str) else value


def redact_user_info(text: str) -> str:
    """Mask passwords in URLs."""
    return _USER_INFO.sub(rf"\1:{MASK}@", text)


class KnownSecrets:
    """Contents of the host's secret files, to be redacted from all parts of a bundle.

    ``unreadable``: files of other users, whose contents cannot be redacted.
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

    def redact(self, text: str) -> str:
        """Replace each secret in the text by a mask."""
        for value in self._values:
            if len(value) >= _SHORT:
                text = text.replace(value, MASK)
            else:
                text = re.sub(rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])", MASK, text)
        return redact_user_info(text)
