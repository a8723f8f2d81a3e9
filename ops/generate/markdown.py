"""What the reference pages share."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; a bar in a cell is written as such."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def first_sentence(thing: object) -> str:
    """The first line of its docstring."""
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]


def prose(thing: object) -> str:
    """Its docstring, with Markdown's single backticks."""
    return (inspect.getdoc(thing) or "").replace("``", "`")
