"""Verification of Ed25519 (RFC 8032) with libsodium's help: what it accepts is accepted, all else is judged by OpenSSL.

Lanes verify each envelope, and OpenSSL takes about twice as long for it (docs/adr/0060). PyNaCl, which has libsodium, is in the
extras of the service's hosts. Processes that verify much load it at their start (``load_libsodium``); in all others OpenSSL
verifies everything. The verdict is OpenSSL's in either case: libsodium accepts a part of what OpenSSL accepts (it refuses keys and
points of small order, and further encodings of a key). So two lanes, and an auditor's `audit verify`, never disagree about an envelope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_BYTES: Final = 64

LONGEST_BY_LIBSODIUM: Final = 16 * 1024
"""Bytes of a message. OpenSSL hashes twice as fast: it verifies what is longer sooner."""

_REFUSED_BY_OPENSSL: Final = (
    (
        "ac970aedb3f8f6a2aa61224e4b82caffc12e5e5eb0cd0567430cbe8452dad304",
        "55e5d7a505fcdc57b799eb2244f3c1b04374e15238898f36d7d53cc2321022ea165507a5462f6f89781d054b9df00c2424ed793859c7c0a67bb042c1bacda90b",
    ),
    (
        "72530cc074c3dd0484ae8e82c4b8dd3a29aa4bbaa12e70313abbf402814b8634",
        "495c3c4ac9bccf7d34afd79719faf0978ae234248b02f3785836c6a80878497242a412ee795c89bfa9f75a48bca498b1a3e09a694a47e815f66b327a7b2cbb1c",
    ),
)
"""Keys and signatures of ``b"sigmill"``.

The first key has a point of order 8 added to it: by the equation with the cofactor (RFC 8032 5.1.7 permits both) the signature is valid, by that
without, which OpenSSL has, it is not. In the second signature the order of the group was added to S: that changes nothing in either
equation, and RFC 8032 5.1.7 forbids it. A libsodium that was built with ``ED25519_COMPAT`` does not look.
"""


_Accepts: TypeAlias = "Callable[[bytes, bytes], bool]"
"""Whether it accepts, for a raw key, a signature with its message behind it."""

_loaded: Final[list[_Accepts]] = []
"""libsodium, once it is loaded."""


def verify_ed25519(key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    """Raise ``cryptography.exceptions.InvalidSignature`` unless the signature is the key's. About 60 us with libsodium, else 105."""
    if (
        not _loaded
        or len(message) > LONGEST_BY_LIBSODIUM
        or len(signature) != SIGNATURE_BYTES  # a shorter one would be filled from the message
        or not _loaded[0](key.public_bytes_raw(), signature + message)
    ):
        key.verify(signature, message)


def load_libsodium() -> bool:
    """Have libsodium help in this process from now on; whether it does. Takes 20 ms: for processes that verify thousands of times."""
    if not _loaded:
        accepts = _libsodium()
        if accepts is not None and not accepts_more_than_openssl(accepts):
            _loaded.append(accepts)
    return bool(_loaded)


def _libsodium() -> _Accepts | None:
    """Verification by libsodium; None where PyNaCl is not installed."""
    try:
        from nacl.bindings import crypto_sign_open
        from nacl.exceptions import BadSignatureError
    except (ImportError, RuntimeError):  # it is missing, is no match for this host, or cannot start libsodium
        return None

    def accepts(key: bytes, signed: bytes) -> bool:
        try:
            crypto_sign_open(signed, key)
        except BadSignatureError:
            return False
        return True

    return accepts


def accepts_more_than_openssl(accepts: _Accepts) -> bool:
    """Whether this verification has the equation with the cofactor, as a later libsodium may, or takes an S that is not reduced."""
    return any(
        accepts(bytes.fromhex(key), bytes.fromhex(signature) + b"sigmill")
        for key, signature in _REFUSED_BY_OPENSSL
    )
