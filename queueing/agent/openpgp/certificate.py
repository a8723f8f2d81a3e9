"""OpenPGP certificates of keys in an HSM: the primary key, one user ID, and the self-signature that binds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.agent.openpgp.packets import (
    PUBLIC_KEY,
    USER_ID,
    PrimaryKey,
    ecdsa_key,
    packet,
    rsa_key,
)
from queueing.agent.openpgp.signature import CERTIFICATION, SignatureMaker, hash_certification
from queueing.client.signatures import Signature
from queueing.errors import AlgorithmMismatch
from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, Scheme
from queueing.protocol.der import oid
from queueing.protocol.public_keys import PublicKey, unsigned_bytes

_SCHEMES: Final = (Scheme.PKCS1V15, Scheme.ECDSA)
"""Schemes of OpenPGP version 4; it has no PSS."""


class Signer(Protocol):
    """The part of ``queueing.client.signing_client.SigningClient`` that signs."""

    async def sign(self, key: str, digest: bytes, algorithm: Algorithm, *, timeout_s: float) -> Signature:
        """Sign one digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A certificate to be made. ``spec``: ``KEY/VERSION``. ``created_s``: Unix time, which decides the fingerprint."""

    spec: str
    public_key: PublicKey
    user_id: str
    created_s: int

    async def certificate(self, signer: Signer, timeout_s: float) -> bytes:
        """The certificate, not armored; one signature. Raises ``AlgorithmMismatch``, or as signing fails."""
        key = primary_key(self.public_key, self.created_s)
        hash_name = key.hash_for(None)
        maker = SignatureMaker(CERTIFICATION, key, hash_name, self.created_s)
        content, user_id = maker.begin(), self.user_id.encode()
        hash_certification(content, key, user_id)
        unfinished = maker.after(content)
        signed = await signer.sign(
            self.spec, unfinished.digest, _algorithm(self.public_key, hash_name), timeout_s=timeout_s
        )
        return packet(PUBLIC_KEY, key.body) + packet(USER_ID, user_id) + unfinished.finish(signed.raw())


def primary_key(public_key: PublicKey, created_s: int) -> PrimaryKey:
    """The OpenPGP form of a key; raises ``AlgorithmMismatch`` for Ed25519, which signs no digest as OpenPGP has it."""
    loaded = load_der_public_key(public_key.spki)
    if isinstance(loaded, rsa.RSAPublicKey):
        numbers = loaded.public_numbers()
        return rsa_key(created_s, unsigned_bytes(numbers.n), unsigned_bytes(numbers.e))
    if isinstance(loaded, ec.EllipticCurvePublicKey):
        point = loaded.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return ecdsa_key(created_s, oid(KEY_KINDS[public_key.kind].curve_oid)[2:], point)
    raise AlgorithmMismatch(
        "OpenPGP signatures are made with RSA and with P-256, P-384 and P-521",
        hint="Use a key of one of these kinds.",
    )


def _algorithm(public_key: PublicKey, hash_name: str) -> Algorithm:
    return next(
        algorithm
        for algorithm in public_key.algorithms
        if FACTS[algorithm].scheme in _SCHEMES and FACTS[algorithm].hash_name == hash_name
    )
