"""The kinds of key as one types them, and public keys that stand in for those that do not exist yet."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey

KIND_NAMES: Final[dict[str, KeyKind]] = {
    "rsa-2048": KeyKind.RSA_2048,
    "rsa-3072": KeyKind.RSA_3072,
    "rsa-4096": KeyKind.RSA_4096,
    "p256": KeyKind.P256,
    "p384": KeyKind.P384,
    "p521": KeyKind.P521,
    "ed25519": KeyKind.ED25519,
}
_RSA_BITS: Final = {KeyKind.RSA_2048: 2048, KeyKind.RSA_3072: 3072, KeyKind.RSA_4096: 4096}
_CURVES: Final[dict[KeyKind, ec.EllipticCurve]] = {
    KeyKind.P256: ec.SECP256R1(),
    KeyKind.P384: ec.SECP384R1(),
    KeyKind.P521: ec.SECP521R1(),
}


def stand_in(kind: KeyKind) -> PublicKey:
    """A public key of this kind that nobody uses: so a configuration can be checked before its key is made."""
    return PublicKey.from_spki(_stand_in(kind).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _stand_in(kind: KeyKind) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    if kind in _RSA_BITS:
        return rsa.RSAPublicNumbers(e=65537, n=(1 << _RSA_BITS[kind]) - 1).public_key()
    if kind in _CURVES:
        return ec.derive_private_key(1, _CURVES[kind]).public_key()
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
