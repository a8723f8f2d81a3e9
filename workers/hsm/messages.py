"""Signatures of the token administration over whole messages: requests, certificates, statements. No lane imports this.

A lane signs digests of 32, 48 or 64 bytes only. A certificate request of an Ed25519 key is signed unhashed, since
Ed25519 hashes the message itself (RFC 8410 7; RFC 8032 5.1.6), and has any length.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from queueing.errors import Invalid
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS
from workers.hsm.faults import NO_CODE, Action, HsmFailure, translated
from workers.hsm.keys import find_key
from workers.hsm.mechanisms import MECHANISMS
from workers.hsm.signing import Signer

if TYPE_CHECKING:
    import pkcs11

    from queueing.protocol.public_keys import PublicKey

LARGEST_MESSAGE_BYTES: Final = 64 * 1024
"""More than a request with its origin statement has; no module has to take more for one EdDSA signature."""

_SIGNATURE_BYTES: Final = 1024


def sign_message(session: pkcs11.Session, public_key: PublicKey, message: bytes) -> bytes:
    """Signature of the key over ``message`` by its default algorithm (ECDSA: DER), verified.

    Raises ``Invalid`` for a message that is too long, ``KeyMissing`` and ``KeyRefused`` as ``find_key`` does,
    ``HsmFailure``.
    """
    if len(message) > LARGEST_MESSAGE_BYTES:
        raise Invalid(f"a message of {len(message)} bytes is not signed, at most {LARGEST_MESSAGE_BYTES}")
    key = find_key(session, public_key)
    algorithm = DEFAULT_FOR_KEY[public_key.kind]
    hash_name = FACTS[algorithm].hash_name
    if hash_name is not None:
        return Signer(key, public_key).sign(algorithm, hashlib.new(hash_name, message).digest())
    with translated():
        signature = key.sign(
            message,
            mechanism=MECHANISMS[algorithm].mechanism,
            mechanism_param=None,
            buffer_size=_SIGNATURE_BYTES,
        )
    verifier = load_der_public_key(public_key.spki)
    assert isinstance(verifier, Ed25519PublicKey)
    try:
        verifier.verify(signature, message)
    except InvalidSignature:
        raise HsmFailure(
            "SIGNATURE_DISTRUSTED",
            NO_CODE,
            Action.REPLACE_LANE,
            detail="the signature does not verify under the pinned public key",
        ) from None
    return signature
