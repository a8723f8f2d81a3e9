"""``sigmill keys set``: the rules of a key: algorithms, clients, budget and windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click
import msgspec

from queueing.errors import AlgorithmUnknown
from queueing.protocol.algorithms import algorithm_named
from workers.cli.keys.pinned_version import find_key
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import config_option, dry_run_option, json_option
from workers.cli.shell.output import Output, emit, print_difference, print_message
from workers.config.key_policy import DAYS, EVERY_CLIENT
from workers.config.loading import load_scope
from workers.config.tenant_edits import Changes, change_key
from workers.config.tenant_writer import edit_tenant, preview_tenant

if TYPE_CHECKING:
    from workers.config.tenant_edits import TomlValue
    from workers.config.tenants import TenantKey

_NONE: Final = "none"
_BUDGET: Final = re.compile(r"([1-9][0-9_]*)/(hour|day)\Z")
_WINDOW: Final = re.compile(
    r"([a-z,-]+) ([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])(?: ([A-Za-z0-9_+/-]+))?\Z"
)


class RulesLine(msgspec.Struct, frozen=True, kw_only=True):
    """Rules of a key as they are now, or would be; ``difference`` of the file, ``written`` None for a dry run."""

    tenant: str
    key: str
    algorithms: tuple[str, ...]
    default_algorithm: str
    policy: str
    difference: str
    written: str | None


class _Arguments(TypedDict):
    config: Path
    tenant: str
    key: str
    algorithms: tuple[str, ...]
    default_algorithm: str | None
    clients: tuple[str, ...]
    budget: str | None
    windows: tuple[str, ...]
    dry_run: bool


@click.command("set")
@config_option
@click.option("--tenant", required=True, help="Tenant of the key.")
@click.option("--key", required=True, metavar="KEY", help="Name of the key.")
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    metavar="[+|-]NAME",
    help="Allowed algorithm; may be repeated. +NAME adds one, -NAME removes one; without a sign the list is replaced.",
)
@click.option(
    "--default-algorithm",
    metavar="NAME",
    help="Algorithm where a build names none; `none`: that of the kind of key.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="[+|-]NAME",
    help="Client that may use the key, or * for every one; may be repeated. Signs as for --algorithm.",
)
@click.option("--budget", metavar="N/hour|N/day", help="Digests per hour or day of UTC; `none`: no limit.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar="'DAYS HH:MM-HH:MM [ZONE]'",
    help="Time in which the key signs, in UTC or a ZONE: 'mon-fri 08:00-18:00 Europe/Berlin'; may be repeated; `none`: always.",
)
@dry_run_option
@json_option
@click.pass_obj
def set_rules(output: Output, /, **arguments: Unpack[_Arguments]) -> None:
    """Change the rules of a key in the tenant's file; what is not named stays as it is.

    The changed file is checked as a whole before it is written, its epoch grows, and comments stay. Prints the
    difference. `sigmill tenants reload` puts it in force.
    """
    scope, name = load_scope(arguments["config"]), arguments["tenant"]
    tenant, key = find_key(scope, name, arguments["key"])
    changes = _changes(key, arguments)
    if not changes:
        raise click.UsageError(
            "name a rule to change: --algorithm, --default-algorithm, --client, --budget or --window"
        )
    edited = preview_tenant(scope, name, lambda text: change_key(text, key.name, changes))
    unchanged = edited.tenant.keys == tenant.keys
    if not arguments["dry_run"] and not unchanged:
        edited = edit_tenant(scope, name, lambda text: change_key(text, key.name, changes))
        keep_key_event(scope, "set", tenant=name, key=key.name, changed=changes)
    found = edited.tenant.keys[key.name]
    line = RulesLine(
        tenant=name,
        key=key.name,
        algorithms=tuple(sorted(found.algorithms)),
        default_algorithm=found.default_algorithm,
        policy=str(found.policy),
        difference="" if unchanged else edited.difference(),
        written=str(edited.file) if edited.written else None,
    )
    if output.as_json:
        emit(line)
    elif unchanged:
        print_message("the rules are so already: nothing was written")
    else:
        print_difference(line.difference, written=line.written)
    if found.policy.clients == frozenset():
        print_message(f"warning: no client may use {key.name}: each job for it is denied")


def _changes(key: TenantKey, arguments: _Arguments) -> Changes:
    changes: dict[str, TomlValue | None] = {}
    if arguments["algorithms"]:
        named = [(sign, _algorithm(name)) for sign, name in map(_signed, arguments["algorithms"])]
        changes["algorithms"] = _list(named, sorted(key.algorithms), "--algorithm")
    if arguments["default_algorithm"] is not None:
        text = arguments["default_algorithm"]
        changes["default_algorithm"] = None if text == _NONE else _algorithm(text)
    if arguments["clients"]:
        present = [EVERY_CLIENT] if key.policy.clients is None else sorted(key.policy.clients)
        changes["clients"] = _list([*map(_signed, arguments["clients"])], present, "--client")
    if arguments["budget"] is not None:
        changes["budget"] = _budget(arguments["budget"])
    if arguments["windows"]:
        changes["windows"] = (
            None if arguments["windows"] == (_NONE,) else tuple(map(_window, arguments["windows"]))
        )
    return changes


def _algorithm(name: str) -> str:
    try:
        return str(algorithm_named(name))
    except AlgorithmUnknown as error:
        raise click.UsageError(f"there is no algorithm {name!r:.60}. {error.hint}") from None


def _signed(word: str) -> tuple[str, str]:
    """Sign, or empty, and value."""
    sign = word[:1] if word[:1] in {"+", "-"} else ""
    return sign, word.removeprefix(sign)


def _list(named: Sequence[tuple[str, str]], present: Sequence[str], option: str) -> tuple[str, ...]:
    """The list with what is added and removed, or the new list."""
    signs = {sign for sign, _ in named}
    if "" in signs:
        if len(signs) > 1:
            raise click.UsageError(f"{option}: either every value has a + or -, or none has")
        return tuple(dict.fromkeys(value for _, value in named))
    result = list(present)
    for sign, value in named:
        if sign == "+" and value not in result:
            result.append(value)
        elif sign == "-":
            if value not in result:
                raise click.UsageError(
                    f"{option}: {value} is not there; there are {', '.join(present) or 'none'}"
                )
            result.remove(value)
    return tuple(result)


def _budget(text: str) -> TomlValue | None:
    if text == _NONE:
        return None
    match = _BUDGET.match(text)
    if match is None:
        raise click.BadParameter(
            f"{text!r:.60} is no budget such as 5000/hour, 100000/day or none", param_hint="--budget"
        )
    return {"digests": int(match[1]), "per": match[2]}


def _window(text: str) -> TomlValue:
    match = _WINDOW.match(text)
    window = None if match is None else _window_of(match)
    if window is None:
        raise click.BadParameter(
            f"{text!r:.60} is no window such as 'mon-fri 08:00-18:00', 'sat,sun 00:00-24:00', 'daily 06:00-20:00' or none",
            param_hint="--window",
        )
    return window


def _window_of(match: re.Match[str]) -> TomlValue | None:
    """The window; None for an unknown day or hour. Midnight at its end is no `until`."""
    try:
        window: dict[str, TomlValue] = {"days": _days(match[1]), "from": time(int(match[2]), int(match[3]))}
        if (match[4], match[5]) != ("24", "00"):
            window["until"] = time(int(match[4]), int(match[5]))
        if match[6]:
            window["zone"] = match[6]
    except ValueError:
        return None
    return window


def _days(text: str) -> tuple[str, ...]:
    if text == "daily":
        return DAYS
    found: list[str] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = DAYS.index(first)
        end = DAYS.index(last) if dash else start
        if end < start:
            raise ValueError(part)
        found += DAYS[start : end + 1]
    return tuple(dict.fromkeys(found))
