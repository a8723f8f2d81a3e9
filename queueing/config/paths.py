"""Paths in configuration files."""

from __future__ import annotations

from pathlib import Path

from queueing.errors import ConfigError


def absolute(base: Path, path: str) -> str:
    """The path that a file in ``base`` names: relative to it, with ``~`` for a home directory, or a path of its own.

    ``ConfigError`` for a ``~`` of a user without one: in a container, HOME may be missing and the user unknown.
    """
    try:
        return str(base / Path(path).expanduser())
    except RuntimeError:
        raise ConfigError(
            str(base),
            "",
            f"names {path!r}, and there is no such home directory",
            "Write the whole path, or set HOME.",
        ) from None
