"""Verification of Ed25519 (RFC 8032) with libsodium's help: what it accepts is accepted, all else is judged by OpenSSL.

Lanes verify each envelope, and OpenSSL takes about twice as long for it (docs/adr/0060). PyNaCl, which has libsodium, is in the extras of the
service's hosts; a build host needs none, and OpenSSL verifies everything there. The verdict is OpenSSL's in either case: libsodium
accepts a part of what OpenSSL accepts (it refuses keys and points of small order, and keys that are encoded in another way than the one). So two
lanes, and an auditor's `audit verify`, never disagree about an envelope.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_BYTES: Final = 64

LONGEST_BY_LIBSODIUM: Final = 16 * 1024
"""Bytes of a message. OpenSSL hashes twice as fast: it verifies what is longer sooner."""

_COFACTORED_KEY: Final = bytes.fromhex("ac970aedb3f8f6a2aa61224e4b82caffc12e5e5eb0cd0567430cbe8452dad304")
_COFACTORED_SIGNATURE: Final = bytes.fromhex(
    "55e5d7a505fcdc57b799eb2244f3c1b04374e15238898f36d7d53cc2321022ea"
    "165507a5462f6f89781d054b9df00c2424ed793859c7c0a67bb042c1bacda90b"
)
"""Of ``b"sigmill"``. The key is one with a point of order 8 added to it: by the equation with the cofactor (RFC 8032 5.1.7 permits both) the
signature is valid, by that without, which OpenSSL has, it is not."""


def verify_ed25519(key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    """Raise ``cryptography.exceptions.InvalidSignature`` unless the signature is the key's. About 60 us with libsodium, else 105."""
    accepts = _libsodium()
    if (
        accepts is None
        or len(message) > LONGEST_BY_LIBSODIUM
        or len(signature) != SIGNATURE_BYTES  # a shorter one would be filled from the message
        or not accepts(key.public_bytes_raw(), signature + message)
    ):
        key.verify(signature, message)


def load_libsodium() -> bool:
    """Whether libsodium helps here; loads it (20 ms), so that the first envelope does not wait for that."""
    return _libsodium() is not None


@cache
def _libsodium() -> Callable[[bytes, bytes], bool] | None:
    """Whether it accepts, for a raw key, a signature with its message behind it; None where it is not to be asked."""
    try:
        from nacl.bindings import crypto_sign_open  # build hosts do not have it, and it takes 20 ms
        from nacl.exceptions import BadSignatureError
    except ImportError:
        return None

    def accepts(key: bytes, signed: bytes) -> bool:
        try:
            crypto_sign_open(signed, key)
        except BadSignatureError:
            return False
        return True

    return None if accepts_more_than_openssl(accepts) else accepts


def accepts_more_than_openssl(accepts: Callable[[bytes, bytes], bool]) -> bool:
    """Whether this verification uses the equation with the cofactor, as a later libsodium may."""
    return accepts(_COFACTORED_KEY, _COFACTORED_SIGNATURE + b"sigmill")
