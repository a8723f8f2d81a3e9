"""The public half of a client key: who may speak for a tenant."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from queueing.errors import EnvelopeSignature

_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())


class ClientPublicKey:
    """An Ed25519 or ECDSA P-256 public key that verifies envelopes."""

    __slots__ = ("_key", "spki")

    def __init__(self, key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self.spki = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __eq__(self, other: object) -> bool:
        return self.spki == other.spki if isinstance(other, ClientPublicKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.spki)

    @classmethod
    def from_spki(cls, der: bytes) -> ClientPublicKey:
        """From SPKI in DER; ``ValueError`` unless it is an Ed25519 or P-256 key."""
        key = serialization.load_der_public_key(der)
        if isinstance(key, Ed25519PublicKey):
            return cls(key)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise ValueError("a client key is Ed25519 or ECDSA P-256")

    def verify_envelope(self, message: bytes, signature: bytes) -> None:
        """Raise ``EnvelopeSignature`` (final) unless the signature is this key's. About 150 us."""
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ECDSA_SHA256)
        except InvalidSignature:
            raise EnvelopeSignature from None
