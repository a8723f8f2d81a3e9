"""Record of a ceremony: proof that a key was made by it, for a statement that is signed later, when the token is back.

The service key signs the opening before the key is made. It names a closing key, whose private half is in the memory of the
command alone, and which signs the public key as soon as the token has made it: no token is needed for that. So the record of
a command that failed, or was killed, proves that its token made this key after the opening, and who was there. Of a command that was
killed before it had the token's answer only the opening is left: it names the key by a CKA_ID that was not known before.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workers.pki.schemes import is_signature

if TYPE_CHECKING:
    from queueing.protocol.public_keys import PublicKey

LARGEST_BYTES: Final = 64 * 1024
"""Of a record in its file: the names of some hundred witnesses have less."""

KEY_ID_BYTES: Final = 16
"""Of a CKA_ID that cannot be known before its opening."""

_OPENING_DOMAIN: Final = b"sigmill-ceremony-opening-v1\x00"
_CLOSING_DOMAIN: Final = b"sigmill-ceremony-closing-v1\x00"


class CeremonyInvalid(ValueError):
    """A record that proves nothing; the message says why."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a record."""


class CeremonyOpening(_Part, frozen=True):
    """The key version that is about to be made, and the witnesses. ``closing_key``: Ed25519, 32 bytes.

    ``key_id``: CKA_ID that the key gets, random; empty in openings of former versions.
    """

    v: Literal[1]
    audience: str
    tenant: str
    key: str
    version: int
    token: str
    witnesses: tuple[str, ...]
    at: datetime
    closing_key: bytes
    key_id: bytes = b""


class MadeKey(_Part, frozen=True):
    """The key that the token made, and when."""

    public_key_sha256: str
    at: datetime


class CeremonyRecord(_Part, frozen=True):
    """Opening and key, each in JSON as it was signed. ``made`` and ``closed``, its signature, are empty until the key is there."""

    opening: bytes
    opened: bytes
    made: bytes = b""
    closed: bytes = b""

    def encode(self) -> bytes:
        """The record as its file has it."""
        return msgspec.json.encode(self)

    def proven(self, service_key: PublicKey) -> tuple[CeremonyOpening, MadeKey]:
        """Opening and key. Raises ``CeremonyInvalid`` unless the service key signed the opening, and the closing key the key."""
        opening = self.opened_by(service_key)
        try:
            closing_key = Ed25519PublicKey.from_public_bytes(opening.closing_key)
            closing_key.verify(self.closed, _closing(self.opening, self.made))
            return opening, msgspec.json.decode(self.made, type=MadeKey)
        except (InvalidSignature, ValueError):
            raise CeremonyInvalid("its key is not signed by the command that the opening names") from None

    def opened_by(self, service_key: PublicKey) -> CeremonyOpening:
        """The opening alone: the ceremony may have ended before there was a key. Raises ``CeremonyInvalid``."""
        if not is_signature(service_key, _OPENING_DOMAIN + self.opening, self.opened):
            raise CeremonyInvalid("its opening is not signed by the pinned service key")
        try:
            return msgspec.json.decode(self.opening, type=CeremonyOpening)
        except ValueError:
            raise CeremonyInvalid("its opening is none that this version reads") from None


def read_record(raw: bytes) -> CeremonyRecord:
    """Record of a file; nothing is verified yet. Raises ``CeremonyInvalid``."""
    try:
        return msgspec.json.decode(raw, type=CeremonyRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise CeremonyInvalid("it is no record of a ceremony that this version reads") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCeremony:
    """Ceremony of the running command; its closing key is in memory alone, and ends with the command."""

    opening: bytes
    key_id: bytes
    _closing_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def begun(  # noqa: PLR0913 - a field each
        cls,
        *,
        audience: str,
        tenant: str,
        key: str,
        version: int,
        token: str,
        witnesses: tuple[str, ...],
        at: datetime,
    ) -> OpenCeremony:
        """The ceremony with a closing key of its own."""
        closing_key, key_id = Ed25519PrivateKey.generate(), secrets.token_bytes(KEY_ID_BYTES)
        opening = CeremonyOpening(
            v=1,
            audience=audience,
            tenant=tenant,
            key=key,
            version=version,
            token=token,
            witnesses=witnesses,
            at=at,
            closing_key=closing_key.public_key().public_bytes_raw(),
            key_id=key_id,
        )
        return cls(opening=msgspec.json.encode(opening), key_id=key_id, _closing_key=closing_key)

    def to_be_signed(self) -> bytes:
        """The bytes that the service key signs."""
        return _OPENING_DOMAIN + self.opening

    def record(self, opened: bytes) -> CeremonyRecord:
        """The record before there is a key; ``opened`` is the service key's signature."""
        return CeremonyRecord(opening=self.opening, opened=opened)

    def closed(self, opened: bytes, public_key: PublicKey, at: datetime) -> CeremonyRecord:
        """The record of the key that the token made at this time."""
        made = msgspec.json.encode(MadeKey(public_key_sha256=public_key.sha256.hex(), at=at))
        closed = self._closing_key.sign(_closing(self.opening, made))
        return CeremonyRecord(opening=self.opening, opened=opened, made=made, closed=closed)


def _closing(opening: bytes, made: bytes) -> bytes:
    return _CLOSING_DOMAIN + hashlib.sha256(opening).digest() + made
