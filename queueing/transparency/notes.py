"""Signed notes (C2SP signed-note): text with signature lines, and the keys that verify them.

A note is the text, which ends with a newline, an empty line, and lines ``— NAME BASE64(key id: 4 bytes | signature)``.
Keys: Ed25519 (type 0x01, verifier key ``NAME+HASH+BASE64(type | 32 bytes)``), and ECDSA with SHA-256 (type 0x02, the id
being the start of the SHA-256 of the key's SubjectPublicKeyInfo).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from queueing.errors import ProofInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100
ED25519: Final = 0x01
ECDSA: Final = 0x02
_KEY_ID_BYTES: Final = 4
_DASH: Final = "— "
_NAME: Final = re.compile(r"[^\s+]+")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature line: name of the key, its id (4 bytes) and the signature's bytes, not verified."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read; the text is not to be believed before a ``VerifierKey`` has verified it."""

    text: str
    signatures: tuple[NoteSignature, ...]


class NoteSigner(Protocol):
    """A key that signs notes."""

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""

    def sign_note(self, text: bytes) -> bytes:
        """The signature over the text: 64 bytes of Ed25519, or DER of ECDSA."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key that a verifier trusts: name, type and public key (Ed25519: 32 bytes; ECDSA: SubjectPublicKeyInfo, DER)."""

    name: str
    kind: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of the hash that C2SP defines for the key's type."""
        hashed = (
            self.public_key
            if self.kind == ECDSA
            else self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key
        )
        return hashlib.sha256(hashed).digest()[:_KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as one word, ``NAME+ID+BASE64``, as files of keys have it."""
        key = base64.b64encode(bytes([self.kind]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    def is_signed(self, note: Note) -> bool:
        """Whether a line of this key is in the note. Raises ``ProofInvalid`` where one is, but does not verify."""
        lines = [line for line in note.signatures if (line.name, line.key_id) == (self.name, self.key_id)]
        for line in lines:
            if not self._verifies(line.signature, note.text.encode()):
                raise ProofInvalid(f"the signature of {self.name} does not verify")
        return bool(lines)

    def _verifies(self, signature: bytes, text: bytes) -> bool:
        try:
            if self.kind == ED25519:
                ed25519.Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
            else:
                _ecdsa_key(self.public_key).verify(signature, text, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class Ed25519NoteKey:
    """An Ed25519 key in memory that signs notes under a name."""

    def __init__(self, name: str, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = VerifierKey(_checked_name(name), ED25519, key.public_key().public_bytes_raw())

    def sign_note(self, text: bytes) -> bytes:
        """The signature over the text, 64 bytes."""
        return self._key.sign(text)


def sign_note(text: str, *signers: NoteSigner) -> bytes:
    """A note over ``text`` with a line of each signer, in order. Raises ``ValueError`` for a text that no note can hold."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("the text of a note ends with a newline and has no other control characters")
    lines = [signature_line(signer.verifier, signer.sign_note(text.encode())) for signer in signers]
    return (text + "\n" + "".join(lines)).encode()


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """A signature line with its newline."""
    return signature_text(key.name, key.key_id, signature)


def signature_text(name: str, key_id: bytes, signature: bytes) -> str:
    """A signature line with its newline, of a key that only its id (4 bytes) tells."""
    return f"{_DASH}{name} {base64.b64encode(key_id + signature).decode()}\n"


def read_note(data: bytes) -> Note:
    """Read a note; nothing of it is verified. Raises ``ProofInvalid``."""
    if len(data) > MAX_NOTE_BYTES:
        raise ProofInvalid(f"the note has {len(data)} bytes, at most {MAX_NOTE_BYTES} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ProofInvalid(f"the note is not UTF-8 at byte {error.start}") from None
    if control := _CONTROL.search(text):
        raise ProofInvalid(f"the note has the control character {ord(control[0]):#04x}")
    body, empty_line, lines = text.rpartition("\n\n")
    if not empty_line or not lines.endswith("\n"):
        raise ProofInvalid("the note has no signature lines after an empty line")
    rows = lines[:-1].split("\n")
    if len(rows) > MAX_SIGNATURES:
        raise ProofInvalid(f"the note has {len(rows)} signatures, at most {MAX_SIGNATURES} are read")
    return Note(body + "\n", tuple([_read_line(row) for row in rows]))


def verified_text(data: bytes, trusted: list[VerifierKey]) -> str:
    """Text of a note that at least one trusted key signed. Raises ``ProofInvalid``, also for one bad line of a trusted key."""
    note = read_note(data)
    if not signed_by_any(note, trusted):
        names = ", ".join(sorted({key.name for key in trusted})) or "no key at all"
        raise ProofInvalid(f"the note is signed by none of the trusted keys ({names})")
    return note.text


def signed_by_any(note: Note, trusted: Sequence[VerifierKey]) -> bool:
    """Whether at least one trusted key signed the note. Each one is looked at: raises ``ProofInvalid`` for a bad line of any."""
    signed = [key.is_signed(note) for key in trusted]
    return any(signed)


def read_verifier_key(text: str) -> VerifierKey:
    """A key in the form ``NAME+ID+BASE64``. Raises ``ProofInvalid``."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = decode_base64(encoded, "the verifier key")
    if len(raw) < 2 or raw[0] not in {ED25519, ECDSA}:
        raise ProofInvalid(f"the verifier key of {name!r} is neither Ed25519 nor ECDSA")
    key = VerifierKey(_checked_name(name), raw[0], raw[1:])
    if key.kind == ECDSA:
        _ecdsa_key(key.public_key)
    elif len(key.public_key) != 32:
        raise ProofInvalid(f"the Ed25519 key of {name!r} has {len(key.public_key)} bytes, not 32")
    if key.key_id.hex() != key_id:
        raise ProofInvalid(f"the id of {name!r} is {key.key_id.hex()}, and not {key_id[:16]!r}")
    return key


def decode_base64(text: str, what: str) -> bytes:
    """Strict standard base64, in its one form. Raises ``ProofInvalid`` that names ``what``."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofInvalid(f"{what} is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise ProofInvalid(f"{what} is not in the one form of base64")
    return raw


def _read_line(row: str) -> NoteSignature:
    name, _, encoded = row.removeprefix(_DASH).partition(" ")
    if not row.startswith(_DASH) or not _NAME.fullmatch(name):
        raise ProofInvalid("a signature line of the note is not '— NAME BASE64'")
    raw = decode_base64(encoded, f"the signature of {name[:80]}")
    if len(raw) <= _KEY_ID_BYTES:
        raise ProofInvalid(f"the signature of {name[:80]} is empty")
    return NoteSignature(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ProofInvalid(f"{name[:80]!r} is no name of a note's key: it has spaces or '+', or is empty")
    return name


def _ecdsa_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise ProofInvalid("the ECDSA verifier key is no SubjectPublicKeyInfo in DER") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ProofInvalid("the ECDSA verifier key is a key of another kind")
    return key
