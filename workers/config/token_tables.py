"""Tokens in a service's file: each table checked, and no two for one token, as far as that is seen without a login."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from queueing.config.secrets import secret_path
from queueing.config.toml import convert
from queueing.errors import ConfigError
from workers.config.settings import PinLogin, TokenSettings
from workers.config.values import ErrorList, expect_name, tables_below

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.config.settings import SelectSettings

LOOP_VARIABLE: Final = "SIGMILL_SIGNING_LOOP"
"""In a token's ``environment``: ``native`` or ``python``, the loop by which its lanes sign (docs/adr/0055)."""

_LOGINS_BY_NAME: Final = ("none", "protected-path")
_REFUSED_ENVIRONMENT: Final = ("LD_PRELOAD", "LD_AUDIT", "PYTHON")
"""Prefixes of variables that would change the lane's interpreter rather than its module."""

_Properties = frozenset[tuple[str, object]]


def read_tokens(file: Path, tables: dict[str, Any], errors: ErrorList) -> dict[str, TokenSettings]:
    """Valid tokens by name; two names for one token are an error."""
    chosen = _SelectedTokens()

    def read(name: str, table: object) -> TokenSettings:
        token = _token(file, expect_name(file, f"tokens.{name}", name), table)
        other = chosen.add(name, token)
        if other:
            raise ConfigError(
                str(file),
                f"tokens.{name}",
                f"is the token that tokens.{other} names",
                "Name each token once: two names would let two tenants share one login.",
            )
        return token

    return errors.collect_each(tables_below(file, tables, "tokens", errors), read)


def _token(file: Path, name: str, table: object) -> TokenSettings:
    path = f"tokens.{name}"
    login = table.get("login") if isinstance(table, dict) else None
    if login is not None and not isinstance(login, dict) and login not in _LOGINS_BY_NAME:
        # Not checked by msgspec, whose message shows the value: it may be the PIN itself.
        raise ConfigError(
            str(file),
            f"{path}.login",
            "is not a kind of login",
            'Write { pin_file = … }, "protected-path" or "none"; a PIN belongs into a file of its own.',
        )
    token = convert(file, path, table, TokenSettings)
    select = token.select
    if select.slot is None and select.label is None and select.serial is None:
        raise ConfigError(str(file), f"{path}.select", "selects nothing", "Give `label`, `serial` or `slot`.")
    if not Path(token.module).is_absolute():
        raise ConfigError(
            str(file), f"{path}.module", "is not an absolute path", "Write the full path of the .so."
        )
    for variable in token.environment:
        if variable.startswith(_REFUSED_ENVIRONMENT):
            raise ConfigError(
                str(file),
                f"{path}.environment.{variable}",
                "must not be set for a module",
                "Set only variables that the vendor's module reads.",
            )
    resolved = token.login
    if isinstance(resolved, PinLogin):
        resolved = PinLogin(pin_file=secret_path(file.parent, resolved.pin_file))
    socket = None if token.socket is None else str(file.parent / token.socket)
    return msgspec.structs.replace(token, login=resolved, socket=socket)


class _SelectedTokens:
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
        told = {name: value for name, value in token.environment.items() if name != LOOP_VARIABLE}
        place = self._real_path(token.module), tuple(sorted(told.items()))
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
