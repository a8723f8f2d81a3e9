"""Markdown of the reference pages: tables and docstrings."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Markdown table; bars in cells are escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def first_sentence(thing: object) -> str:
    """First line of the docstring."""
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]


def prose(thing: object) -> str:
    """Docstring with Markdown's single backticks."""
    return (inspect.getdoc(thing) or "").replace("``", "`")
