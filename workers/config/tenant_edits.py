"""Small edits of a tenant's file, as text, so that the operator's order and comments stay.

An edit is believed only if the edited text, read again, says exactly what was meant and is a valid tenant;
else the file stays as it is. Each raises the tenant's epoch by one.
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

_BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+$")  # TOML 1.0, keys
_ANY_HEADER: Final = re.compile(r"^\s*\[")


class EditRefused(ValueError):
    """The text cannot be edited with certainty: it must be done by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A key version to be entered; ``algorithms``, ``profile`` and ``clients`` count only where the key is new."""

    key: str
    version: int
    state: KeyState
    public_key: PublicKey
    tokens: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]
    profile: str
    clients: tuple[str, ...] = (EVERY_CLIENT,)


def version_block(new: NewVersion, *, key_is_new: bool) -> str:
    """The TOML to paste at the end of the tenant's file."""
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
    """The tenant's text with this version at its end; ``EditRefused`` where that cannot be done."""
    before = tomllib.loads(text)
    meant = copy.deepcopy(before)
    key_is_new = new.key not in meant.get("keys", {})
    if key_is_new:
        meant.setdefault("keys", {})[new.key] = {
            "algorithms": [str(a) for a in new.algorithms],
            "clients": list(new.clients),
            "versions": [],
        }
        if new.profile != "code-signing":
            meant["keys"][new.key]["profile"] = new.profile
    meant["keys"][new.key].setdefault("versions", []).append(_version_table(new))
    block = version_block(new, key_is_new=key_is_new)
    return _checked(_raise_epoch(f"{text.rstrip()}\n\n{block}", before), meant)


def revoke_client(text: str, client: str) -> str:
    """The tenant's text with this client revoked; ``EditRefused`` where that cannot be done."""
    before = tomllib.loads(text)
    if client not in before.get("clients", {}):
        raise EditRefused(f"the file has no client `{client}`")
    meant = copy.deepcopy(before)
    meant["clients"][client]["state"] = "revoked"
    lines = text.splitlines(keepends=True)
    start = _header_line(lines, "clients", client)
    end = _next_header(lines, start + 1)
    _set_key(lines, range(start + 1, end), "state", '"revoked"', otherwise_at=start + 1)
    return _checked(_raise_epoch("".join(lines), before), meant)


def toml_key(name: str) -> str:
    """A name as it stands in a TOML header: quoted where it has a dot."""
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


def _checked(text: str, meant: dict[str, Any]) -> str:
    meant["epoch"] = int(meant.get("epoch", 0)) + 1
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EditRefused(f"the edited text is not TOML any more ({error})") from None
    if said != meant:
        raise EditRefused("the edited text does not say what was meant")
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
