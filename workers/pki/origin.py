"""Origin statement of a key: what its token showed at its creation, who was there, and the request that the key signed.

The signed content is JSON with sorted keys: the statement, its request (PEM), and the SHA-256 of the request. The request
has a copy of the statement inside, as ``id-aa-attestation``. All that a token shows is the word of its module to this
host, so the statement names the module by its SHA-256: it is evidence, not an attestation by the HSM's maker.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.protocol import der
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.certificates import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.protocol.public_keys import PublicKey

How = Literal["generated", "interrupted", "found"]
"""Origin of a key as a statement says it, the strongest first."""

_STATEMENT_OID: Final = "2.25.248303270929218936294735938264093712646"
"""Type of our statement in an AttestationBundle: an OID of a UUID (ITU-T X.667)."""

_LINE_ENDS: Final = re.compile(r"\\[nr]|[\r\n]")
_HEX_NOISE: Final = re.compile(r"\\[nr]|[\s:]")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{40,}")
_URL_SAFE: Final = str.maketrans("-_", "+/")

_ATTESTATION: Final = x509.ObjectIdentifier("1.2.840.113549.1.9.16.2.59")


class OriginInvalid(ValueError):
    """A statement that does not hold; the message says which part of it."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a statement."""


class OriginToken(_Part, frozen=True):
    """CK_TOKEN_INFO, as the module shows it; ``certification`` as the operator entered it."""

    label: str
    serial: str
    manufacturer: str
    model: str
    hardware: str
    firmware: str
    certification: str | None = None


class OriginModule(_Part, frozen=True):
    """The module: path, CK_INFO, and the SHA-256 of its file in hex."""

    path: str
    description: str
    library: str
    cryptoki: str
    sha256: str


class VendorEvidence(_Part, frozen=True):
    """Output of the vendor's command, kept in a file of its own."""

    command: tuple[str, ...]
    sha256: str
    bytes: int


class OriginStatement(_Part, frozen=True, omit_defaults=True):
    """Statement about one key version, as its token shows it ``at`` that time.

    ``how``: ``generated`` by the ceremony, at ``generated_at``, or ``found`` in the token by it. ``interrupted``: found with the CKA_ID that a
    ceremony, opened at ``opened_at``, had given to its key before it was cut off.
    """

    v: Literal[1]
    audience: str
    tenant: str
    key: str
    version: int
    kind: KeyKind
    public_key_sha256: str
    how: How
    mechanism: str | None
    token: OriginToken
    module: OriginModule
    attributes: dict[str, bool]
    witnesses: tuple[str, ...]
    vendor_evidence: tuple[VendorEvidence, ...]
    build: str
    at: datetime
    generated_at: datetime | None = None
    opened_at: datetime | None = None

    def json(self) -> str:
        """The statement as JSON with sorted keys."""
        return msgspec.json.encode(self, order="sorted").decode()

    def attestation(self) -> bytes:
        """Value of ``id-aa-attestation`` in DER: an AttestationBundle with this statement."""
        statement = der.sequence(der.oid(_STATEMENT_OID), der.utf8(self.json()))
        return der.sequence(der.sequence(statement))


class Origin(_Part, frozen=True):
    """Signed content: the statement, and the request that the key signed, if one was made with it."""

    statement: OriginStatement
    request: str | None
    request_sha256: str | None

    @classmethod
    def of(cls, statement: OriginStatement, request: str | None) -> Origin:
        """The content of a statement and its request (PEM)."""
        digest = None if request is None else hashlib.sha256(request.encode()).hexdigest()
        return cls(statement=statement, request=request, request_sha256=digest)

    def encode(self) -> bytes:
        """The content as it is signed."""
        return msgspec.json.encode(self, order="sorted")

    def check(self) -> None:
        """Raise ``OriginInvalid`` unless the request is the key's own and has the same statement inside."""
        if self.request is None:
            return
        if hashlib.sha256(self.request.encode()).hexdigest() != self.request_sha256:
            raise OriginInvalid("the request is not the one of its SHA-256")
        try:
            request = x509.load_pem_x509_csr(self.request.encode())
            spki = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            inside = request.attributes.get_attribute_for_oid(_ATTESTATION).value
        except (x509.AttributeNotFound, *UNREADABLE) as error:
            raise OriginInvalid(f"the request cannot be read ({error!s:.100})") from None
        if hashlib.sha256(spki).hexdigest() != self.statement.public_key_sha256:
            raise OriginInvalid("the request is of another key than the statement")
        if not request.is_signature_valid:
            raise OriginInvalid("the request is not signed by its key")
        if inside != der.read(self.statement.attestation()).content:
            raise OriginInvalid("the request has another statement inside")


def read_origin(content: bytes) -> Origin:
    """Content of a statement's file, after its signature was verified. Raises ``OriginInvalid``."""
    try:
        return msgspec.json.decode(content, type=Origin)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise OriginInvalid("its content is no origin statement that this version reads") from None


def speaks_of(evidence: bytes, public_key: PublicKey) -> bool:
    """Whether vendor evidence has this public key in it: as bytes, in hex, or in base64 (PEM and JSON too)."""
    material = _material(public_key)
    if material in evidence:
        return True
    text = evidence.decode("latin-1")
    if material.hex() in _HEX_NOISE.sub("", text).lower():
        return True
    runs = _BASE64.findall(_LINE_ENDS.sub("", text))
    return any(material in raw for run in runs for raw in _decoded(run))


def _material(public_key: PublicKey) -> bytes:
    """Modulus, curve coordinates or Edwards point: the part of a key that every encoding of it contains."""
    key = load_der_public_key(public_key.spki)
    if isinstance(key, rsa.RSAPublicKey):
        modulus = key.public_numbers().n
        return modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    assert isinstance(key, ed25519.Ed25519PublicKey)
    return key.public_bytes_raw()


def _decoded(run: str) -> Iterator[bytes]:
    """Bytes of a run of base64 letters from each of its first four places: words may precede the base64."""
    for start in range(4):
        part = run[start:].translate(_URL_SAFE)
        part = part[: len(part) - (len(part) % 4 == 1)]
        yield base64.b64decode(part + "=" * (-len(part) % 4))
