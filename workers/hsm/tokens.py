"""Selection of exactly one token, by slot, label and serial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkcs11 import TokenFlag
from pkcs11.exceptions import TokenNotPresent, TokenNotRecognised

from queueing.errors import TokenUnavailable
from workers.hsm.faults import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pkcs11

    from workers.hsm.module import LoadedModule


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSelect:
    """Criteria of a token; None matches any. Labels and serials are compared without their padding."""

    slot: int | None = None
    label: str | None = None
    serial: str | None = None

    def __str__(self) -> str:
        given = {"slot": self.slot, "label": self.label, "serial": self.serial}
        return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None) or "any"


def select_token(module: LoadedModule, select: TokenSelect) -> pkcs11.Token:
    """Select the one initialised token that matches.

    Raises ``TokenUnavailable`` for none or several, with their number and the tokens that are present. One call per slot.
    """
    with translated():
        present = list(_tokens(module))
    matching = [token for token in present if _matches(token, select)]
    if len(matching) == 1:
        return matching[0]
    there = "; ".join(_describe(token) for token in present) or "no initialised token"
    raise TokenUnavailable(f"{len(matching)} tokens match {select}, exactly one must; found: {there}")


def serial_of(token: pkcs11.Token) -> str:
    """CK_TOKEN_INFO.serialNumber as text, without its padding (blanks by the standard, NULs by some)."""
    return token.serial.decode("ascii", "replace").rstrip(" \0")


def _tokens(module: LoadedModule) -> Iterator[pkcs11.Token]:
    for slot in module.lib.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except (TokenNotPresent, TokenNotRecognised):
            continue  # it was pulled out between the two calls
        if token.flags & TokenFlag.TOKEN_INITIALIZED:
            yield token


def _matches(token: pkcs11.Token, select: TokenSelect) -> bool:
    return (
        (select.slot is None or token.slot.slot_id == select.slot)
        and (select.label is None or _unpadded(token.label) == _unpadded(select.label))
        and (select.serial is None or serial_of(token) == _unpadded(select.serial))
    )


def _unpadded(text: str) -> str:
    return text.rstrip(" \0")


def _describe(token: pkcs11.Token) -> str:
    return f"slot {token.slot.slot_id}, label {_unpadded(token.label)!r}, serial {serial_of(token)!r}"
