"""Tokens that the tables of a service's file select: two tables for one token are found as far as no login is needed."""

from __future__ import annotations

import os
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.config.settings import SelectSettings, TokenSettings

_Properties = frozenset[tuple[str, object]]


class SelectedTokens:
    """Selections so far, by the module's real path, its environment, and the properties of the token.

    Exactly one token has the properties of a selection. So a selection with the same properties and more has that token,
    too. Where neither has all properties of the other, only the token can tell: the worker compares what its lanes report.
    """

    def __init__(self) -> None:
        self._real_paths: dict[str, str] = {}
        self._selections: dict[object, str] = {}
        self._parts: dict[object, str] = {}

    def add(self, name: str, token: TokenSettings) -> str:
        """Name of the table that selects the same token; empty where none does, and then this one is added."""
        place = self._real_path(token.module), tuple(sorted(token.environment.items()))
        given = _properties(token.select)
        other = self._parts.get((place, given), "")
        for part in _parts(given):
            other = other or self._selections.get((place, part), "")
        if not other:
            self._selections[place, given] = name
            for part in _parts(given):
                self._parts[place, part] = name
        return other

    def _real_path(self, module: str) -> str:
        if module not in self._real_paths:
            self._real_paths[module] = os.path.realpath(module)
        return self._real_paths[module]


def _properties(select: SelectSettings) -> _Properties:
    """Without the padding, which counts nowhere."""
    given = {"slot": select.slot, "label": select.label, "serial": select.serial}
    return frozenset(
        (name, value.rstrip(" \0") if isinstance(value, str) else value)
        for name, value in given.items()
        if value is not None
    )


def _parts(given: _Properties) -> Iterator[_Properties]:
    for count in range(1, len(given) + 1):
        yield from map(frozenset, combinations(given, count))
