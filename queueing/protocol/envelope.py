"""The envelope: what a client of a tenant authorises, as bytes that its key has signed.

Wire form (msgpack, arrays, no map keys to repeat)::

    sealed   = [body: bin, signature: bin]
    body     = [1, audience, tenant, client, key, key_version, algorithm, issued_at_ms, expires_at_ms,
                idempotency_key: bin16, grant: bin | nil, digests: [bin, ...]]

The signature is Ed25519, or ECDSA P-256 with SHA-256 in DER, over ``DOMAIN + body``. Reading an envelope
authorises nothing: the process that holds the PIN verifies it (ADR 0005).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol

import msgspec

from queueing.errors import EnvelopeMalformed
from queueing.protocol.names import UncheckedName, is_name

DOMAIN: Final = b"sigmill-envelope-v1\x00"
"""Separates these signatures from any others that the same client key makes."""

MAX_DIGESTS: Final = 1024
"""Digests in one envelope: above this the Ed25519 verification is below 1 % of the work."""

MAX_DIGEST_BYTES: Final = 128
"""Longest digest that is carried to be refused one by one; the longest that is signed has 64 bytes."""

MAX_SEALED_BYTES: Final = 192 * 1024
"""1,024 digests of 128 bytes with their headers, and room for names and grant."""

CURRENT_VERSION: Final = 0
"""``key_version`` of an envelope that asks for whichever version is active."""

_DigestBytes = Annotated[bytes, msgspec.Meta(max_length=MAX_DIGEST_BYTES)]
_TimeMs = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """The signed content. Times are Unix milliseconds on the client's clock."""

    version: Literal[1] = 1
    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    tenant: UncheckedName
    client: UncheckedName
    key: UncheckedName
    key_version: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    algorithm: Annotated[str, msgspec.Meta(max_length=64)]
    issued_at_ms: _TimeMs
    expires_at_ms: _TimeMs
    idempotency_key: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    grant: Annotated[bytes, msgspec.Meta(max_length=4096)] | None = None
    digests: Annotated[tuple[_DigestBytes, ...], msgspec.Meta(min_length=1, max_length=MAX_DIGESTS)]


class _Sealed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: bytes
    signature: Annotated[bytes, msgspec.Meta(max_length=128)]


@dataclass(frozen=True, slots=True)
class UnverifiedEnvelope:
    """An envelope read from the queue: well-formed, but neither verified nor authorised yet."""

    envelope: Envelope
    body: bytes
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """The bytes under the signature."""
        return DOMAIN + self.body


class EnvelopeSigner(Protocol):
    """A client key: Ed25519 or ECDSA P-256 (a TPM has the latter)."""

    def sign_envelope(self, message: bytes) -> bytes:
        """The signature over ``message``: 64 bytes of Ed25519, or a DER ECDSA signature."""


_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(Envelope)
_sealed_decoder = msgspec.msgpack.Decoder(_Sealed)


def encode_body(envelope: Envelope) -> bytes:
    """The one encoding of an envelope; anything else that decodes to it is refused."""
    return _encoder.encode(envelope)


def seal(envelope: Envelope, signer: EnvelopeSigner) -> bytes:
    """Encode and sign. Costs one client-key signature (Ed25519: about 55 us), whatever the digests."""
    body = encode_body(envelope)
    return _encoder.encode(_Sealed(body, signer.sign_envelope(DOMAIN + body)))


def read_unverified(sealed: bytes) -> UnverifiedEnvelope:
    """Parse without verifying; raises ``EnvelopeMalformed`` (final) with no part of the bytes in the message.

    A body that is not in the one encoding of its content is malformed too, so two different byte strings
    never mean the same envelope.
    """
    if len(sealed) > MAX_SEALED_BYTES:
        raise EnvelopeMalformed(f"the envelope has {len(sealed)} bytes, at most {MAX_SEALED_BYTES} are read")
    try:
        outer = _sealed_decoder.decode(sealed)
        envelope = _body_decoder.decode(outer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeMalformed(f"the envelope cannot be read: {_without_values(error)}") from None
    if not (is_name(envelope.tenant) and is_name(envelope.client) and is_name(envelope.key)):
        raise EnvelopeMalformed("the envelope cannot be read: its tenant, client or key is no name")
    if encode_body(envelope) != outer.body:
        raise EnvelopeMalformed("the envelope is not in canonical encoding")
    return UnverifiedEnvelope(envelope, outer.body, outer.signature)


def _without_values(error: Exception) -> str:
    """Msgspec names type and place, never content; of any other error the class alone is safe."""
    return str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__
