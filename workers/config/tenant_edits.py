"""Edits of a tenant's file as text, so that the operator's order and comments stay.

An edit is accepted only if the edited text, parsed again, has exactly the intended content and is a valid tenant;
otherwise the file stays as it is. Each edit increments the tenant's epoch.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workers.config.key_policy import EVERY_CLIENT

if TYPE_CHECKING:
    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.key_directory import KeyState
    from queueing.protocol.public_keys import PublicKey

_BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+\Z")  # TOML 1.0, keys
_ANY_HEADER: Final = re.compile(r"^\s*\[")


class EditRefused(ValueError):
    """The text cannot be edited reliably; the operator has to do it by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """Key version to be added; ``algorithms``, ``profile`` and ``clients`` are used only for a new key."""

    key: str
    version: int
    state: KeyState
    public_key: PublicKey
    tokens: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]
    profile: str
    clients: tuple[str, ...] = (EVERY_CLIENT,)


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
        *(f"{k} = {json.dumps(v)}" for k, v in _version_table(new).items()),
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
    end = _next_header(lines, start + 1)
    _set_key(lines, range(start + 1, end), "state", '"revoked"', otherwise_at=start + 1)
    return _checked(_raise_epoch("".join(lines), before), intended)


def toml_key(name: str) -> str:
    """A name as part of a TOML header: quoted where it has a dot."""
    return name if _BARE_KEY.match(name) else json.dumps(name)


def _version_table(new: NewVersion) -> dict[str, Any]:
    return {
        "version": new.version,
        "state": new.state,
        "public_key": base64.b64encode(new.public_key.spki).decode(),
        "public_key_sha256": new.public_key.sha256.hex(),
        "tokens": list(new.tokens),
    }


def _raise_epoch(text: str, before: dict[str, Any]) -> str:
    lines = text.splitlines(keepends=True)
    end = _next_header(lines, 0)
    after_tenant = next((i + 1 for i in range(end) if _key_of(lines[i]) == "tenant"), 0)
    _set_key(lines, range(end), "epoch", str(int(before.get("epoch", 0)) + 1), otherwise_at=after_tenant)
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


def _header_line(lines: list[str], table: str, name: str) -> int:
    keys = "|".join(
        re.escape(form)
        for form in {name if _BARE_KEY.match(name) else json.dumps(name), f'"{name}"', f"'{name}'"}
    )
    header = re.compile(rf"^\s*\[\s*{table}\s*\.\s*(?:{keys})\s*\]")
    for i, line in enumerate(lines):
        if header.match(line):
            return i
    raise EditRefused(f"the file has no line [{table}.{toml_key(name)}]")


def _next_header(lines: list[str], start: int) -> int:
    return next((i for i in range(start, len(lines)) if _ANY_HEADER.match(lines[i])), len(lines))


def _key_of(line: str) -> str:
    return line.partition("=")[0].strip()


def _set_key(lines: list[str], where: range, key: str, value: str, *, otherwise_at: int) -> None:
    for i in where:
        if _key_of(lines[i]) == key:
            lines[i] = f"{key} = {value}\n"
            return
    lines.insert(otherwise_at, f"{key} = {value}\n")
