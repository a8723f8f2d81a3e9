"""The mistakes of one file, gathered table by table: one that is wrong does not hide what is wrong in the next."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from queueing.errors import ConfigError
from workers.config.values import refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

T = TypeVar("T")


class ErrorList:
    """What was found so far, in the order of reading."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    def reading(self, read: Callable[[], T]) -> T | None:
        """The value; None where there is a mistake, which is noted."""
        try:
            return read()
        except ConfigError as error:
            self.found.append(error)
            return None

    def reading_each(self, tables: Mapping[str, object], read: Callable[[str, object], T]) -> dict[str, T]:
        """The values of those tables that have no mistake, by name."""
        values: dict[str, T] = {}
        for name, table in tables.items():
            try:
                values[name] = read(name, table)
            except ConfigError as error:
                self.found.append(error)
        return values

    def unknown(self, file: Path, tables: Mapping[str, object], known: Collection[str]) -> None:
        """Note each key of ``tables`` that is not among ``known``."""
        for name in sorted(tables):
            self.reading(partial(refuse_unknown, file, {name: None}, known))

    def first(self) -> ConfigError:
        """For who needs only one; there is one at least."""
        return self.found[0]
