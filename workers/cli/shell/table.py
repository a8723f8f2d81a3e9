"""Rows in columns, for people; programs ask for --json."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print the rows under their heads, on stdout; a value that is None or empty is a dash."""
    texts = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    for row in texts:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is True:
        return "yes"
    if value is False:
        return "no"
    return "-" if value is None or value == "" else str(value)
