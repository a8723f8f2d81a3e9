"""Keys that tests hold themselves, as a service, a client or an HSM would."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol.algorithms import (
    FACTS,
    KEY_KINDS,
    Algorithm,
    KeyFamily,
    KeyKind,
    Scheme,
    check_digest_length,
)
from queueing.protocol.public_keys import elliptic_curve
from queueing.transparency.notes import ECDSA, VerifierKey

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def generate_key(kind: KeyKind) -> PrivateKey:
    """A new key of this kind."""
    facts = KEY_KINDS[kind]
    match facts.family:
        case KeyFamily.RSA:
            return rsa.generate_private_key(65537, facts.rsa_bits)
        case KeyFamily.EC:
            return ec.generate_private_key(elliptic_curve(kind))
        case KeyFamily.EDWARDS:
            return ed25519.Ed25519PrivateKey.generate()


@cache
def rsa_key(number: int = 0, *, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Key of this process's tests, another one for each number: to make one takes a tenth of a second and more."""
    del number
    return rsa.generate_private_key(65537, bits)


def spki_of(key: PrivateKey) -> bytes:
    """The public half, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign_digest(key: PrivateKey, algorithm: Algorithm, digest: bytes) -> bytes:
    """Signature as an HSM would give it, ECDSA in DER."""
    check_digest_length(algorithm, len(digest))
    facts = FACTS[algorithm]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(digest)
    assert facts.hash_name is not None
    chosen = _HASHES[facts.hash_name]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(Prehashed(chosen)))
    if facts.scheme is Scheme.PKCS1V15:
        return key.sign(digest, padding.PKCS1v15(), Prehashed(chosen))
    pss = padding.PSS(mgf=padding.MGF1(chosen), salt_length=chosen.digest_size)
    return key.sign(digest, pss, Prehashed(chosen))


class EcdsaNoteKey:
    """A P-256 key that signs notes as the service's lane does."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.spki = spki_of(self._key)
        self.verifier = VerifierKey(name, ECDSA, self.spki)

    def sign_note(self, text: bytes) -> bytes:
        return self._key.sign(text, ec.ECDSA(hashes.SHA256()))
