"""The grant: permission of an issuer that the tenant's file names, for one ephemeral key, as bytes that the issuer has signed.

Wire form (msgpack, arrays)::

    sealed   = [body: bin, signature: bin]
    body     = [1, audience, tenant, issuer, grant_id: bin16, subject, evidence_sha256: bin32, client_public_key: bin32,
                keys: [text, ...], algorithms: [text, ...], max_digests, not_before_ms, expires_ms]

The signature is the issuer's (Ed25519, or ECDSA P-256 with SHA-256 in DER) over ``DOMAIN + body``. Reading a grant authorises
nothing: the lane verifies it under the key that its own files name (ADR 0005), then the envelope under the grant's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from queueing.errors import EnvelopeSignature, GrantMalformed, GrantRefused
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.names import Name

if TYPE_CHECKING:
    from queueing.protocol.envelope import EnvelopeSigner

DOMAIN: Final = b"sigmill-grant-v1\x00"
"""Separates these signatures from any others that the same key makes."""

MAX_GRANT_BYTES: Final = 4096
"""What the envelope's field holds."""

MAX_KEYS: Final = 32
MAX_ALGORITHMS: Final = 16
MAX_DIGESTS: Final = 2**31
"""Most digests of one grant; the issuer's cap in the tenant's file is far lower."""

MAX_SUBJECT: Final = 512

_PRINTABLE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

IssuerName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,28}[a-z0-9])?\Z")]
"""A ``Name`` of at most 30 characters: with a point and a grant's id it is still a ``Name``."""

Subject = Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,512}\Z")]
"""Printable ASCII: one text has one form in logs, orders and terminals. Other characters are percent-encoded (``subject_of``)."""

_AlgorithmName = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]{1,64}\Z")]
_TimeMs = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Grant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """The signed content. Times are Unix milliseconds on the issuer's clock.

    ``audience``: that of the service's file, as in envelopes and stop orders, so that a grant is of use in one cluster only.
    ``issuer``: name of the issuer in the tenant's file. ``evidence_sha256``: SHA-256 of the token, or of the certificate in DER,
    that the issuer was shown. ``client_public_key``: the ephemeral Ed25519 key, raw (RFC 8032 5.1.5). ``keys`` and
    ``algorithms``: in ascending order, none twice.
    """

    version: Literal[1] = 1
    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    tenant: Name
    issuer: IssuerName
    grant_id: _Bytes16
    subject: Subject
    evidence_sha256: _Bytes32
    client_public_key: _Bytes32
    keys: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAX_KEYS)]
    algorithms: Annotated[tuple[_AlgorithmName, ...], msgspec.Meta(min_length=1, max_length=MAX_ALGORITHMS)]
    max_digests: Annotated[int, msgspec.Meta(ge=1, le=MAX_DIGESTS)]
    not_before_ms: _TimeMs
    expires_ms: _TimeMs

    @property
    def client(self) -> str:
        """``client`` of the envelopes under this grant."""
        return client_of(self.issuer, self.grant_id)

    def holder(self) -> ClientPublicKey:
        """The ephemeral key. Raises ``GrantMalformed`` (final) where it is none."""
        try:
            return ClientPublicKey(Ed25519PublicKey.from_public_bytes(self.client_public_key))
        except ValueError:
            raise GrantMalformed("the grant's public key is none") from None


class _Sealed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: bytes
    signature: Annotated[bytes, msgspec.Meta(max_length=128)]


class UnverifiedGrant(msgspec.Struct, frozen=True):
    """A grant that is well-formed, but not verified yet."""

    grant: Grant
    body: bytes
    signature: bytes

    def verify(self, issuer: ClientPublicKey) -> Grant:
        """The grant, if it is of this issuer; raises ``GrantRefused`` (final). Costs about 60 us."""
        try:
            issuer.verify_envelope(signing_input(self.body), self.signature)
        except EnvelopeSignature:
            raise GrantRefused("the grant's signature is not that of the issuer") from None
        return self.grant


_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(Grant)
_sealed_decoder = msgspec.msgpack.Decoder(_Sealed)


def client_of(issuer: str, grant_id: bytes) -> str:
    """``client`` of envelopes under a grant: ISSUER.ID, with the id in 32 hex digits.

    A ``Name``, so that a lane which knows of no grants reads the envelope, and refuses the client as unknown.
    """
    return f"{issuer}.{grant_id.hex()}"


def subject_of(text: str) -> str:
    """Subject for any text: printable ASCII as it is, the per cent sign and all others percent-encoded in UTF-8 (RFC 3986 2.1).

    Two texts never have the same subject. Raises ``ValueError`` where it is empty or longer than 512 characters, or is no
    Unicode text (a lone surrogate).
    """
    subject = quote(text, safe=_PRINTABLE)
    if not 0 < len(subject) <= MAX_SUBJECT:
        raise ValueError(f"a subject has 1 to {MAX_SUBJECT} characters, this one has {len(subject)}")
    return subject


def encode_body(grant: Grant) -> bytes:
    """The one encoding of a grant; anything else that decodes to it is refused."""
    return _encoder.encode(grant)


def signing_input(body: bytes) -> bytes:
    """The bytes under the issuer's signature."""
    return DOMAIN + body


def encode_sealed(body: bytes, signature: bytes) -> bytes:
    """Body and signature as they travel. Raises ``ValueError`` where they would not be read."""
    sealed = _encoder.encode(_Sealed(body, signature))
    try:
        read_grant(sealed)
    except GrantMalformed as error:
        raise ValueError(error.message) from None
    return sealed


def seal_grant(grant: Grant, issuer: EnvelopeSigner) -> bytes:
    """Encode and sign. Raises ``ValueError`` for a grant that would not be read, such as one of more than 4,096 bytes."""
    body = encode_body(grant)
    return encode_sealed(body, issuer.sign_envelope(signing_input(body)))


def read_grant(sealed: bytes) -> UnverifiedGrant:
    """Parse without verifying; raises ``GrantMalformed`` (final) with no part of the bytes in the message.

    Two different byte strings never mean the same body, nor the same body with the same signature.
    """
    if len(sealed) > MAX_GRANT_BYTES:
        raise GrantMalformed(f"the grant has {len(sealed)} bytes, at most {MAX_GRANT_BYTES} are read")
    try:
        outer = _sealed_decoder.decode(sealed)
        grant = _body_decoder.decode(outer.body)
    except msgspec.MsgspecError as error:
        raise GrantMalformed(f"the grant cannot be read: {error}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise GrantMalformed(f"the grant cannot be read: {type(error).__name__}") from None
    if _encoder.encode(outer) != sealed or encode_body(grant) != outer.body:
        raise GrantMalformed("the grant is not in canonical encoding")
    if not (_is_ascending(grant.keys) and _is_ascending(grant.algorithms)):
        raise GrantMalformed(
            "the grant's keys or algorithms are not in ascending order, or one is there twice"
        )
    if grant.expires_ms <= grant.not_before_ms:
        raise GrantMalformed("the grant expires before it begins")
    return UnverifiedGrant(grant, outer.body, outer.signature)


def _is_ascending(names: tuple[str, ...]) -> bool:
    return len(names) == 1 or names == tuple(sorted(set(names)))
