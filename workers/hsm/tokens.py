"""Selection of exactly one token, by slot, label and serial."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeAlias

import pkcs11
from pkcs11 import TokenFlag
from pkcs11.exceptions import DeviceRemoved, PKCS11Error, SlotIDInvalid, TokenNotPresent, TokenNotRecognised

from queueing.errors import TokenUnavailable
from workers.hsm.faults import HsmFailure, translate
from workers.state.token_claims import TokenProperties, unpadded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workers.hsm.module import LoadedModule

PATIENCE_S: Final = 3.0
"""Slots that have not answered by then are left out where a token that matches was found; below ``LEAST_CALL_S``."""

_LISTINGS: Final = 3
_CHANGED: Final = (SlotIDInvalid, TokenNotPresent, DeviceRemoved)
"""Answers about a slot that was there when the module was asked for their number."""

_Answer: TypeAlias = "tuple[pkcs11.Slot, pkcs11.Token | Exception]"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSelect:
    """Criteria of a token; None matches any. Labels and serials are compared without their padding."""

    slot: int | None = None
    label: str | None = None
    serial: str | None = None

    def __str__(self) -> str:
        given = {"slot": self.slot, "label": self.label, "serial": self.serial}
        return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None) or "any"


def select_token(
    module: LoadedModule, select: TokenSelect, *, patience_s: float = PATIENCE_S
) -> pkcs11.Token:
    """Select the one initialised token that matches. A slot that fails, or does not answer in time, keeps no other token
    from being used.

    Raises ``TokenUnavailable`` for none or several, with their number and the tokens that are present; ``HsmFailure`` where
    none matches and a slot failed. One call per slot, at the same time where the module allows threads.
    """
    slots = _slots(module)
    answers = _ask_all(slots, patience_s) if module.threads_allowed else _ask_in_turn(slots, select)
    seen = _Seen(select)
    for answer in answers:
        if answer is None and len(seen.matching) == 1:
            break
        if answer is not None:
            seen.add(*answer)
    if len(seen.matching) == 1:
        return seen.matching[0]
    raise seen.failure()


def _slots(module: LoadedModule) -> list[pkcs11.Slot]:
    """Slots with a token. One that vanishes between two calls of the module makes the list fail, which is asked for again."""
    left = _LISTINGS
    while True:
        try:
            return module.lib.get_slots(token_present=True)
        except PKCS11Error as error:
            left -= 1
            if not (left and isinstance(error, _CHANGED)):
                cause = translate(error)
                detail = "the module does not list its slots, so none of its tokens can be used"
                raise HsmFailure(cause.code_name, cause.code, cause.action, detail=detail) from error


@dataclass(slots=True)
class _Seen:
    """Tokens and failures that the slots have answered with so far."""

    select: TokenSelect
    present: list[pkcs11.Token] = field(default_factory=list)
    failed: list[tuple[int, Exception]] = field(default_factory=list)

    @property
    def matching(self) -> list[pkcs11.Token]:
        return [token for token in self.present if _matches(token, self.select)]

    def add(self, slot: pkcs11.Slot, answer: pkcs11.Token | Exception) -> None:
        if isinstance(answer, (TokenNotPresent, TokenNotRecognised)):
            return  # it was pulled out between the two calls
        if isinstance(answer, Exception):
            self.failed.append((slot.slot_id, answer))
        elif answer.flags & TokenFlag.TOKEN_INITIALIZED:
            self.present.append(answer)

    def failure(self) -> Exception:
        by_slot = sorted(self.present, key=lambda token: token.slot.slot_id)
        there = "; ".join(_describe(token) for token in by_slot) or "no initialised token"
        if self.failed and not self.matching:
            slot, error = self.failed[0]
            cause = translate(error)
            detail = f"slot {slot} does not answer, and no other token matches {self.select}; found: {there}"
            return HsmFailure(cause.code_name, cause.code, cause.action, detail=detail)
        count = len(self.matching)
        return TokenUnavailable(f"{count} tokens match {self.select}, exactly one must; found: {there}")


def _ask_all(slots: Sequence[pkcs11.Slot], patience_s: float) -> Iterator[_Answer | None]:
    """Answers as they come; one None when the patience is over. A thread for each slot: a call cannot be abandoned."""
    answers: SimpleQueue[_Answer] = SimpleQueue()
    for slot in slots:
        threading.Thread(target=lambda s=slot: answers.put(_ask(s)), name="slot", daemon=True).start()
    until, patient = time.monotonic() + patience_s, True
    for _ in slots:
        if patient:
            try:
                yield answers.get(timeout=max(until - time.monotonic(), 0.0))
                continue
            except Empty:
                patient = False
                yield None
        yield answers.get()


def _ask_in_turn(slots: Sequence[pkcs11.Slot], select: TokenSelect) -> Iterator[_Answer | None]:
    """Answers one after another, that of the slot in question first, and None behind it: no other has its number."""
    for slot in sorted(slots, key=lambda each: each.slot_id != select.slot):
        yield _ask(slot)
        if slot.slot_id == select.slot:
            yield None


def _ask(slot: pkcs11.Slot) -> _Answer:
    try:
        return slot, slot.get_token()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is of this slot alone
        return slot, error


def serial_of(token: pkcs11.Token) -> str:
    """CK_TOKEN_INFO.serialNumber as text, without its padding."""
    return unpadded(token.serial.decode("ascii", "replace"))


def properties_of(token: pkcs11.Token) -> TokenProperties:
    """Properties of a token; nothing is asked of the module."""
    return TokenProperties(
        manufacturer=unpadded(token.manufacturer_id),
        model=unpadded(token.model),
        serial=serial_of(token),
        label=unpadded(token.label),
        slot=token.slot.slot_id,
    )


def _matches(token: pkcs11.Token, select: TokenSelect) -> bool:
    return properties_of(token).matches(slot=select.slot, label=select.label, serial=select.serial)


def _describe(token: pkcs11.Token) -> str:
    return str(properties_of(token))
