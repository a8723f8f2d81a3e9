"""Edits of a tenant's file as text, so that the operator's order and comments stay.

An edit is accepted only if the edited text, parsed again, has exactly the intended content and is a valid tenant;
otherwise the file stays as it is. Each edit increments the tenant's epoch.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from workers.config.key_policy import EVERY_CLIENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.key_directory import KeyState
    from queueing.protocol.public_keys import PublicKey

_BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+\Z")  # TOML 1.0, keys
_ANY_HEADER: Final = re.compile(r"^\s*\[\[?\s*[A-Za-z0-9_\"'-][^,=]*\]\s*(?:#|$)")
"""Header of a table; not the inner brackets of an array, such as ``["a"],``."""

_COMMENT: Final = re.compile(r"""^(?:[^#"']|"[^"]*"|'[^']*')*(#.*)\Z""")


class EditRefused(ValueError):
    """The text cannot be edited reliably; the operator has to do it by hand."""


TomlValue: TypeAlias = "str | int | datetime | time | Sequence[TomlValue] | Mapping[str, TomlValue]"
Changes: TypeAlias = "Mapping[str, TomlValue | None]"
"""New values of a table by key; None removes the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """Key version to be added; ``algorithms``, ``profile`` and ``clients`` are used only for a new key.

    ``created``: when the token made the key; None for one that it had already.
    """

    key: str
    version: int
    state: KeyState
    public_key: PublicKey
    tokens: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]
    profile: str
    clients: tuple[str, ...] = (EVERY_CLIENT,)
    created: datetime | None = None


def version_block(new: NewVersion, *, key_is_new: bool) -> str:
    """TOML of the version, to be appended to the tenant's file."""
    name = toml_key(new.key)
    lines = []
    if key_is_new:
        lines += [
            f"[keys.{name}]",
            f"algorithms = {json.dumps([str(a) for a in new.algorithms])}",
            f"clients = {json.dumps(list(new.clients))}",
        ]
        lines += [f'profile = "{new.profile}"', ""] if new.profile != "code-signing" else [""]
    lines += [
        f"[[keys.{name}.versions]]",
        *(f"{k} = {toml_text(v)}" for k, v in _version_table(new).items()),
    ]
    return "\n".join(lines) + "\n"


def add_version(text: str, new: NewVersion) -> str:
    """The tenant's text with this version appended. Raises ``EditRefused``."""
    before = tomllib.loads(text)
    intended = copy.deepcopy(before)
    key_is_new = new.key not in intended.get("keys", {})
    if key_is_new:
        intended.setdefault("keys", {})[new.key] = {
            "algorithms": [str(a) for a in new.algorithms],
            "clients": list(new.clients),
            "versions": [],
        }
        if new.profile != "code-signing":
            intended["keys"][new.key]["profile"] = new.profile
    intended["keys"][new.key].setdefault("versions", []).append(_version_table(new))
    block = version_block(new, key_is_new=key_is_new)
    return _checked(_raise_epoch(f"{text.rstrip()}\n\n{block}", before), intended)


def revoke_client(text: str, client: str) -> str:
    """The tenant's text with this client revoked. Raises ``EditRefused``."""
    before = tomllib.loads(text)
    if client not in before.get("clients", {}):
        raise EditRefused(f"the file has no client `{client}`")
    intended = copy.deepcopy(before)
    intended["clients"][client]["state"] = "revoked"
    lines = text.splitlines(keepends=True)
    start = _header_line(lines, "clients", client)
    _change_fields(lines, start + 1, before["clients"][client], {"state": "revoked"})
    return _checked(_raise_epoch("".join(lines), before), intended)


def toml_key(name: str) -> str:
    """A name as part of a TOML header: quoted where it has a dot."""
    return name if _BARE_KEY.match(name) else json.dumps(name)


def change_key(text: str, key: str, changes: Changes) -> str:
    """The tenant's text with these fields of ``[keys.KEY]`` changed. Raises ``EditRefused``."""
    before = tomllib.loads(text)
    intended = copy.deepcopy(before)
    _apply(intended["keys"][key], changes)
    lines = text.splitlines(keepends=True)
    start = _header_line(lines, "keys", key)
    _change_fields(lines, start + 1, before["keys"][key], changes)
    return _checked(_raise_epoch("".join(lines), before), intended)


def change_versions(
    text: str, key: str, changes: Mapping[int, Changes], *, head: Changes | None = None
) -> str:
    """The tenant's text with fields of versions of a key changed, by version number. Raises ``EditRefused``.

    ``head``: changes of the fields before the first table.
    """
    before = tomllib.loads(text)
    intended = copy.deepcopy(before)
    lines = text.splitlines(keepends=True)
    if head:
        _change_fields(lines, 0, before, head)
        _apply(intended, head)
    for i, table in enumerate(intended["keys"][key]["versions"]):
        if change := changes.get(table["version"]):
            headers = [n for n, line in enumerate(lines) if _versions_header(key).match(line)]
            if i >= len(headers):
                raise EditRefused(f"the file has no line [[keys.{toml_key(key)}.versions]] for each version")
            _change_fields(lines, headers[i] + 1, table, change)
            _apply(table, change)
    return _checked(_raise_epoch("".join(lines), before), intended)


def attach_chain(text: str, key: str, version: int, name: str, file: str) -> str:
    """The tenant's text with this file as the chain of a version: of the name, or, without one, the first chain."""
    if not name:
        return change_versions(text, key, {version: {"certificates": [file]}})
    versions = tomllib.loads(text)["keys"][key]["versions"]
    present = next(each.get("chains", {}) for each in versions if each["version"] == version)
    return change_versions(text, key, {version: {"chains": {**present, name: file}}})


def toml_text(value: TomlValue) -> str:
    """The value as TOML in one line."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, time):
        return value.isoformat("seconds")
    if isinstance(value, str | int):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(k)} = {toml_text(v)}" for k, v in value.items()) + " }"
    return "[" + ", ".join(map(toml_text, value)) + "]"


def _apply(table: dict[str, Any], changes: Changes) -> None:
    for name, value in changes.items():
        if value is None:
            table.pop(name, None)
        else:
            table[name] = tomllib.loads(f"x = {toml_text(value)}")["x"]


def _change_fields(lines: list[str], start: int, table: Mapping[str, Any], changes: Changes) -> None:
    """Change fields of the table whose first line is ``start``; the comment of a line stays with it."""
    for name, value in changes.items():
        end = _next_header(lines, start)
        at = next((i for i in range(start, end) if _key_of(lines[i]) == name), None)
        if at is None:
            if value is not None:
                lines.insert(_last_field(lines, start, end), f"{name} = {toml_text(value)}\n")
            continue
        count, comments, tail = _field_at(lines, at, end, name, table.get(name))
        new = [] if value is None else [f"{name} = {toml_text(value)}{tail}\n"]
        if value is None and tail:
            comments = [*comments, f"{tail.strip()}\n"]
        lines[at : at + count] = [*comments, *new]


def _field_at(lines: list[str], at: int, end: int, name: str, value: Any) -> tuple[int, list[str], str]:
    """Number of lines of the field, comments in between as lines of their own, and the comment behind it."""
    for count in range(1, end - at + 1):
        text = "".join(lines[at : at + count])
        try:
            if tomllib.loads(text) != {name: value}:
                break
        except tomllib.TOMLDecodeError:
            continue
        comments = [f"{mark}\n" for line in lines[at : at + count - 1] if (mark := _comment_of(line))]
        last = text.rstrip("\n")
        for i in (i for i, char in enumerate(last) if char == "#"):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                if tomllib.loads(last[:i]) == {name: value}:
                    return count, comments, f"   {last[i:]}"
        return count, comments, ""
    raise EditRefused(f"`{name}` is written in a form that is not edited")


def _comment_of(line: str) -> str:
    """Comment at the end of a line of an array of strings; empty where it has none."""
    return match.group(1) if (match := _COMMENT.match(line.rstrip("\n"))) else ""


def _last_field(lines: list[str], start: int, end: int) -> int:
    """Line behind the last field of a table: before the blank lines and comments that lead to the next one."""
    while end > start and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    if end > start and not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return end


def _versions_header(key: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*\[\[\s*keys\s*\.\s*(?:{_forms(key)})\s*\.\s*versions\s*\]\]")


def _version_table(new: NewVersion) -> dict[str, Any]:
    created = {} if new.created is None else {"created": new.created.replace(microsecond=0)}
    return {
        "version": new.version,
        "state": new.state,
        "public_key": base64.b64encode(new.public_key.spki).decode(),
        "public_key_sha256": new.public_key.sha256.hex(),
        "tokens": list(new.tokens),
        **created,
    }


def _raise_epoch(text: str, before: dict[str, Any]) -> str:
    lines = text.splitlines(keepends=True)
    _change_fields(lines, 0, before, {"epoch": int(before.get("epoch", 0)) + 1})
    return "".join(lines)


def _checked(text: str, intended: dict[str, Any]) -> str:
    intended["epoch"] = int(intended.get("epoch", 0)) + 1
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EditRefused(f"the edited text is no longer valid TOML ({error})") from None
    if parsed != intended:
        raise EditRefused("the edited text does not have the intended content")
    return text


def _forms(name: str) -> str:
    """Pattern of the ways to write a name in a header."""
    forms = {name if _BARE_KEY.match(name) else json.dumps(name), f'"{name}"', f"'{name}'"}
    return "|".join(map(re.escape, sorted(forms)))


def _header_line(lines: list[str], table: str, name: str) -> int:
    header = re.compile(rf"^\s*\[\s*{table}\s*\.\s*(?:{_forms(name)})\s*\]")
    for i, line in enumerate(lines):
        if header.match(line):
            return i
    raise EditRefused(f"the file has no line [{table}.{toml_key(name)}]")


def _next_header(lines: list[str], start: int) -> int:
    return next((i for i in range(start, len(lines)) if _ANY_HEADER.match(lines[i])), len(lines))


def _key_of(line: str) -> str:
    return line.partition("=")[0].strip()
