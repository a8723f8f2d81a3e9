"""Answers that describe library, slot, token and mechanisms: constants, but for the tenant's name."""

from __future__ import annotations

from typing import Final

from queueing.agent.cryptoki import Mechanism, Rv
from queueing.agent.rpc.fields import CallFailed, FieldReader, FieldWriter
from queueing.agent.token import Token

SLOT: Final = 1
TOKEN_LABEL: Final = "sigmill"  # noqa: S105  # a name, no secret
"""Label of the token: ``pkcs11:token=sigmill;object=KEY`` is the same on every build host."""

_MANUFACTURER: Final = "Sigmill"
_VERSION: Final = (1, 0)
_CRYPTOKI: Final = (2, 40)
_TOKEN_PRESENT: Final = 0x1
_WRITE_PROTECTED, _TOKEN_INITIALIZED = 0x2, 0x400
"""CKF_… of CK_TOKEN_INFO. Not CKF_LOGIN_REQUIRED: the socket's file mode is the access control, and tools ask for no PIN."""

_UNKNOWN: Final = 0xFFFFFFFFFFFFFFFF
"""CK_UNAVAILABLE_INFORMATION."""

_SIGN: Final = 0x800
_NAMED_CURVES: Final = 0x100000 | 0x800000 | 0x1000000
"""CKF_EC_F_P, CKF_EC_NAMEDCURVE (CKF_EC_OID), CKF_EC_UNCOMPRESS."""

_KEY_SIZES: Final[dict[Mechanism, tuple[int, int]]] = {
    Mechanism.RSA_PKCS: (2048, 4096),
    Mechanism.RSA_PKCS_PSS: (2048, 4096),
    Mechanism.ECDSA: (256, 521),
}
"""In bits."""


def check_slot(reader: FieldReader) -> None:
    """Read a slot's number; raises ``CallFailed`` unless it is the token's."""
    if reader.ulong() != SLOT:
        raise CallFailed(Rv.SLOT_ID_INVALID)


def write_info(answer: FieldWriter) -> None:
    """CK_INFO."""
    answer.version(*_CRYPTOKI)
    answer.padded(_MANUFACTURER, 32)
    answer.ulong(0)
    answer.padded("Sigmill agent", 32)
    answer.version(*_VERSION)


def write_slot_info(answer: FieldWriter) -> None:
    """CK_SLOT_INFO."""
    answer.padded("Sigmill agent", 64)
    answer.padded(_MANUFACTURER, 32)
    answer.ulong(_TOKEN_PRESENT)
    answer.version(*_VERSION)
    answer.version(*_VERSION)


def write_token_info(answer: FieldWriter, tenant: str, sessions: int) -> None:
    """CK_TOKEN_INFO; the tenant's name, as far as it fits, is the serial number."""
    answer.padded(TOKEN_LABEL, 32)
    answer.padded(_MANUFACTURER, 32)
    answer.padded("agent", 16)
    answer.padded(tenant, 16)
    answer.ulong(_WRITE_PROTECTED | _TOKEN_INITIALIZED)
    answer.ulong(0, sessions, 0, 0)  # at most (0: unlimited) and open: all, read-write
    answer.ulong(255, 0)  # longest and shortest PIN: any is taken, and none is needed
    answer.ulong(_UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN)  # memory
    answer.version(*_VERSION)
    answer.version(*_VERSION)
    answer.padded("", 16)  # no clock


def write_mechanism_info(answer: FieldWriter, token: Token, mechanism: int) -> None:
    """CK_MECHANISM_INFO; raises ``CallFailed`` for a mechanism of no key."""
    if mechanism not in token.mechanisms:
        raise CallFailed(Rv.MECHANISM_INVALID)
    least, most = _KEY_SIZES[Mechanism(mechanism)]
    curves = _NAMED_CURVES if mechanism == Mechanism.ECDSA else 0
    answer.ulong(least, most, _SIGN | curves)
