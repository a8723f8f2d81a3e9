"""JSON of a token, read strictly: one meaning for each text, bounded in size and depth, no number without an exact value.

Libraries differ in what they make of a repeated name, of NaN, or of ``1e999``: who signs a token and who judges it must read
the same. Nothing here verifies a signature.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence
from typing import Final, NoReturn

from workers.issuer.identity.refusals import Outcome, TokenRefused, shown

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_PART_CHARACTERS: Final = 16 * 1024
"""The longest token (``queueing.protocol.grants.grant_request``); no part of it is longer."""

MAX_DEPTH: Final = 8
"""Claims of Kubernetes have three levels."""

MAX_VALUES: Final = 512
"""Names and values of one part together; GitHub's tokens have about 35 claims."""


def read_object(part: str, what: str) -> dict[str, Json]:
    """The object in a part of a token: base64url without padding (RFC 7515 2), then JSON. Raises ``TokenRefused``.

    ``what``: name of the part, for the message, which quotes nothing of its content but a name that an object has twice.
    """
    return parse_object(decode_part(part, what), what)


def decode_part(part: str, what: str) -> bytes:
    """Bytes of a part. Raises ``TokenRefused`` where it is not the one base64url form of them."""
    if len(part) > MAX_PART_CHARACTERS:
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is too long")
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is not base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is not in canonical base64url")
    return raw


def parse_object(raw: bytes, what: str) -> dict[str, Json]:
    """The object in these bytes. Raises ``TokenRefused``."""
    try:
        value: Json = json.loads(
            raw.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
        )
    except _RepeatedName as error:
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} has the name {error} twice") from None
    except RecursionError:
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is nested too deeply") from None
    except ValueError:  # no UTF-8, no JSON, a number of more than 4,300 digits
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is not a JSON object")
    _check_bounds(value, what)
    return value


class _RepeatedName(ValueError):
    """An object has a name twice; its text is the name as a caller may see it."""


def _object(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _RepeatedName(shown(name))
            seen.add(name)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON (RFC 8259 6)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _check_bounds(value: dict[str, Json], what: str) -> None:
    """Refuse what is too deep or has too many values, without recursion."""
    waiting: list[tuple[int, Json]] = [(1, value)]
    seen = 0
    while waiting:
        depth, inner = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH + 1:
            raise TokenRefused(Outcome.MALFORMED, f"the token's {what} is nested more than {MAX_DEPTH} deep")
        if seen > MAX_VALUES:
            raise TokenRefused(Outcome.MALFORMED, f"the token's {what} has more than {MAX_VALUES} values")
        if isinstance(inner, dict):
            waiting += [(depth + 1, item) for item in inner.values()]
        elif isinstance(inner, list):
            waiting += [(depth + 1, item) for item in inner]
