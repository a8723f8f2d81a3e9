"""The kinds of key as one types them, and public keys that stand in for those that do not exist yet."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol.algorithms import KEY_KINDS, KeyFamily, KeyKind
from queueing.protocol.public_keys import PublicKey, elliptic_curve

KIND_NAMES: Final[dict[str, KeyKind]] = {str(kind).lower().replace("_", "-"): kind for kind in KeyKind}


def stand_in(kind: KeyKind) -> PublicKey:
    """A public key of this kind that nobody uses: so a configuration can be checked before its key is made."""
    return PublicKey.from_spki(_stand_in(kind).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _stand_in(kind: KeyKind) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    facts = KEY_KINDS[kind]
    match facts.family:
        case KeyFamily.RSA:
            return rsa.RSAPublicNumbers(e=65537, n=(1 << facts.rsa_bits) - 1).public_key()
        case KeyFamily.EC:
            return ec.derive_private_key(1, elliptic_curve(kind)).public_key()
        case KeyFamily.EDWARDS:
            return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
