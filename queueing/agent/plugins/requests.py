"""JSON of a plugin's request, read strictly: an object with fields of the right types, of limited length. JSON of its answer."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from queueing.agent.cryptoki import Rv
from queueing.agent.token_client import TokenRefused

MAX_REQUEST_BYTES: Final = 16 << 20
"""Longest request that is read. A payload of notation has a few hundred bytes, and an image's annotations at most 4 MiB."""

STDOUT, STDERR = 1, 2
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as in shells."""

_MAX_SHOWN: Final = 80
"""Characters of foreign text in a message."""


class RequestInvalid(Exception):
    """A request that the protocol does not have; a sentence that names the field."""


class Unsupported(RequestInvalid):
    """A request in another version of the protocol."""


class Fields(NamedTuple):
    """Fields of an object of the request; ``path`` is its place, for messages. Unknown fields are not looked at."""

    values: Mapping[str, Any]
    path: str = ""

    def text(self, name: str, *, default: str | None = None) -> str:
        """A text; ``default`` where it is missing or null. Raises ``RequestInvalid``."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "is no text")
        return value

    def number(self, name: str) -> int:
        """A whole number; raises ``RequestInvalid``."""
        value = self._value(name, None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "is no whole number")
        return value

    def raw(self, name: str, *, default: bytes | None = None) -> bytes:
        """Bytes, in base64 with padding (RFC 4648, 4); raises ``RequestInvalid``."""
        value = self._value(name, default)
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str):
            raise self._wrong(name, "is no base64 text")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise self._wrong(name, "is no base64 text") from None

    def object(self, name: str) -> Fields:
        """An object; empty where it is missing or null. Raises ``RequestInvalid``."""
        value = self.values.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(name, "is no object")
        return Fields(value, f"{self.path}{name}.")

    def has(self, name: str) -> bool:
        """Whether the field is there and is not null."""
        return self.values.get(name) is not None

    def _value(self, name: str, default: str | bytes | None) -> Any:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise self._wrong(name, "is missing")
        return value

    def _wrong(self, name: str, problem: str) -> RequestInvalid:
        return RequestInvalid(f"the field {self.path}{name} {problem}")


def read_object(raw: str | bytes) -> Fields:
    """The object of a request; raises ``RequestInvalid``."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise RequestInvalid(f"the request has more than {MAX_REQUEST_BYTES} bytes")
    try:
        found = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise RequestInvalid("the request is nested too deeply") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestInvalid(f"the request is no JSON{where}") from None
    if not isinstance(found, dict):
        raise RequestInvalid("the request is no JSON object")
    return Fields(found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, none of whose names is there twice: readers differ in the one that counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestInvalid("the request has a name twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise RequestInvalid(f"the request has {text}, which is no JSON")


def shown(text: str) -> str:
    """Foreign text as a message shows it: in one line, cut, without control characters."""
    cut = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


def sentence(error: RequestInvalid | TokenRefused) -> str:
    """An error as one line for a person; a terminal may show it as it is."""
    text = str(error)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def is_denied(error: TokenRefused) -> bool:
    """Whether the service denies it, so that a retry does not help."""
    return error.rv == Rv.FUNCTION_REJECTED


def tell(answer: Mapping[str, Any], descriptor: int) -> bool:
    """Write an answer as JSON in ASCII; whether the program could be told."""
    try:
        os.write(descriptor, json.dumps(answer).encode() + b"\n")
    except OSError:
        return False
    return True


def base64_text(raw: bytes) -> str:
    """Bytes as the base64 of an answer's field."""
    return base64.b64encode(raw).decode()
