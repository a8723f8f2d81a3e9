"""Writing small TOML files: strings, numbers, booleans, lists of strings, and tables of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+$")


def toml_text(table: Mapping[str, Any]) -> str:
    """The table as TOML 1.0: values first, then its tables."""
    lines = _lines(table, ())
    return "\n".join(lines).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [
        f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)
    ]
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            lines += ["", f"[{'.'.join(map(_key, inner))}]", *_lines(value, inner)]
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.match(key) else _value(key)


def _value(value: object) -> str:
    """JSON's strings, numbers, booleans and lists of them are TOML's, with DEL escaped."""
    if isinstance(value, str | bool | int | float | list | tuple):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise TypeError(f"{type(value).__name__} has no place in these files")
