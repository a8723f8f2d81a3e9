"""Verification of Ed25519: whatever libsodium says, the verdict is that of OpenSSL."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open

from queueing import ed25519
from queueing.ed25519 import (
    LONGEST_BY_LIBSODIUM,
    accepts_more_than_openssl,
    load_libsodium,
    verify_ed25519,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = b"sigmill"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group (RFC 8032 5.1)."""

VECTORS = {
    "signed": (
        "72530cc074c3dd0484ae8e82c4b8dd3a29aa4bbaa12e70313abbf402814b8634",
        (
            "495c3c4ac9bccf7d34afd79719faf0978ae234248b02f3785836c6a808784972"
            "55d01c915ff97667d35a63a5ddaab99ca3e09a694a47e815f66b327a7b2cbb0c"
        ),
        True,
    ),
    "the same with the group's order added to S": (
        "72530cc074c3dd0484ae8e82c4b8dd3a29aa4bbaa12e70313abbf402814b8634",
        (
            "495c3c4ac9bccf7d34afd79719faf0978ae234248b02f3785836c6a808784972"
            "42a412ee795c89bfa9f75a48bca498b1a3e09a694a47e815f66b327a7b2cbb1c"
        ),
        False,
    ),
    "valid with the cofactor only": (
        "ac970aedb3f8f6a2aa61224e4b82caffc12e5e5eb0cd0567430cbe8452dad304",
        (
            "55e5d7a505fcdc57b799eb2244f3c1b04374e15238898f36d7d53cc2321022ea"
            "165507a5462f6f89781d054b9df00c2424ed793859c7c0a67bb042c1bacda90b"
        ),
        False,
    ),
    "points of order 8 in key and R that cancel": (
        "2ce86febe910982533274d39ba7f7a063aa11847265af5e9720bb641c8f2b5c9",
        (
            "de1d40afb7f7f9b5e4772cf8280029aa5bf41b0d63d24b9a84d54cf6b2bad293"
            "e798682ea9145315bedaf1379b558e21fa5601d987b6b68a37aaec466e87670b"
        ),
        True,
    ),
    "a key of order 1": (
        "0100000000000000000000000000000000000000000000000000000000000000",
        (
            "9349114dd13b53b2e00fffefbc3348110aa32791dad55d78e1f6fabfbd5ef776"
            "5e32145a615fcad005f73c9e3448d6e40f935cb10a0d4e4d35164043b8daf80e"
        ),
        True,
    ),
    "the same key in its other encoding": (
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        (
            "493b6d248422253bf6d68d02dacebc24a676db02222e1896d41c45184d0a89d8"
            "933991b9da91c59ebaceaf5e4801cc9db1f45143860a1295e3d4e8fb894a6401"
        ),
        True,
    ),
    "an R of order 1": (
        "a7a5bfb2f45afd9727d6da400940382634632eddcb572d1d4e7940967a8692e9",
        (
            "0100000000000000000000000000000000000000000000000000000000000000"
            "8870cb2f9e7dd46e901a181dbaaec741e0b0707168a528bf3c205dfc358b4302"
        ),
        True,
    ),
    "the same R in its other encoding": (
        "d56ac2fe8c45f65c35a0e9592014f09ea87f50d35bc6748abbdef3dbb054f827",
        (
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
            "829388342b0d00b94a896c1c52b75dcc71a801b159058d3b090a0eb5b5a2560b"
        ),
        False,
    ),
}
"""Key, signature of ``MESSAGE``, and OpenSSL's verdict, by what is odd in them. libsodium refuses the fifth to the seventh, too."""


def accepted(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Our verdict."""
    try:
        verify_ed25519(key, signature, message)
    except InvalidSignature:
        return False
    return True


def by_openssl(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """OpenSSL's verdict."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.fixture(autouse=True)
def libsodium() -> None:
    """Loaded: else the tests would compare OpenSSL with itself."""
    assert load_libsodium()


@pytest.mark.parametrize("name", VECTORS)
def test_odd_keys_and_signatures_get_the_verdict_of_openssl(name: str) -> None:
    """A record is verified by OpenSSL on hosts without PyNaCl: it must find each envelope that a lane accepted."""
    key, signature, verdict = VECTORS[name]
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    assert by_openssl(public, bytes.fromhex(signature), MESSAGE) is verdict
    assert accepted(public, bytes.fromhex(signature), MESSAGE) is verdict


@given(
    message=st.binary(max_size=300),
    flipped=st.integers(min_value=0, max_value=64 * 8),
    cut=st.sampled_from([0, 1, 32, 64]),
    more=st.binary(max_size=2),
)
def test_damaged_signatures_get_the_verdict_of_openssl(
    message: bytes, flipped: int, cut: int, more: bytes
) -> None:
    """A bit flipped anywhere (or none), bytes missing or too many."""
    signature = int.from_bytes(PRIVATE.sign(message), "little")
    if flipped < 64 * 8:
        signature ^= 1 << flipped
    damaged = signature.to_bytes(64, "little")[: 64 - cut] + more
    assert accepted(PUBLIC, damaged, message) is by_openssl(PUBLIC, damaged, message)


def test_bytes_of_the_message_are_not_taken_for_the_end_of_a_signature() -> None:
    """libsodium reads both in one piece."""
    signature = PRIVATE.sign(b"rest")
    assert not accepted(PUBLIC, signature[:63], signature[63:] + b"rest")


def test_a_genuine_signature_is_not_verified_twice() -> None:
    """libsodium's word is enough where it accepts; OpenSSL verifies long messages, and what libsodium refuses."""
    asked: list[int] = []

    class Counted:
        """Key that counts OpenSSL's verifications."""

        def public_bytes_raw(self) -> bytes:
            return PUBLIC.public_bytes_raw()

        def verify(self, signature: bytes, message: bytes) -> None:
            asked.append(len(message))
            PUBLIC.verify(signature, message)

    key: Ed25519PublicKey = Counted()  # type: ignore[assignment]
    long = bytes(LONGEST_BY_LIBSODIUM + 1)
    assert accepted(key, PRIVATE.sign(MESSAGE), MESSAGE)
    assert accepted(key, PRIVATE.sign(long[1:]), long[1:])
    assert asked == []
    assert accepted(key, PRIVATE.sign(long), long)
    assert not accepted(key, PRIVATE.sign(b"another"), MESSAGE)
    assert asked == [len(long), len(MESSAGE)]


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not loaded it."""
    monkeypatch.setattr(ed25519, "_loaded", [])


@pytest.mark.usefixtures("unloaded")
def test_without_pynacl_openssl_verifies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacl.bindings", None)
    assert not load_libsodium()
    assert accepted(PUBLIC, PRIVATE.sign(MESSAGE), MESSAGE)
    assert not accepted(PUBLIC, PRIVATE.sign(b"another"), MESSAGE)


@pytest.mark.usefixtures("unloaded")
def test_a_libsodium_that_cannot_start_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyNaCl raises a ``RuntimeError`` at its import then: a lane that loads it at its start must start."""

    class Broken(ModuleType):
        """Module whose import does not end well."""

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("Could not initialize sodium")

    monkeypatch.setitem(sys.modules, "nacl.bindings", Broken("nacl.bindings"))
    assert not load_libsodium()
    assert accepted(PUBLIC, PRIVATE.sign(MESSAGE), MESSAGE)


def with_s_reduced(signed: bytes, key: bytes) -> bytes:
    """Verification as by a libsodium that was built with ``ED25519_COMPAT``: an S that is too large by the group's order is as good."""
    s = int.from_bytes(signed[32:64], "little") % ORDER
    return crypto_sign_open(signed[:32] + s.to_bytes(32, "little") + signed[64:], key)


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    "opens", [lambda signed, _: signed[64:], with_s_reduced], ids=["everything", "an S that is not reduced"]
)
def test_a_libsodium_that_accepts_more_than_openssl_is_not_asked(
    opens: Callable[[bytes, bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lane would sign what an auditor finds forged."""
    monkeypatch.setattr("nacl.bindings.crypto_sign_open", opens)
    assert not load_libsodium()
    key, signature, _ = VECTORS["the same with the group's order added to S"]
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    assert not accepted(public, bytes.fromhex(signature), MESSAGE)
    assert not accepted(PUBLIC, PRIVATE.sign(b"another"), MESSAGE)


def accepts_under(key: bytes) -> Callable[[bytes, bytes], bool]:
    """A library that takes whatever is signed for one key, and nothing else."""
    return lambda shown, _: shown == key


def test_openssl_refuses_what_a_library_is_shown() -> None:
    """These are signatures of the table above: one tells the two equations apart, the other one is of an S that is too large."""
    asked: list[tuple[bytes, bytes]] = []

    def refuses(key: bytes, signed: bytes) -> bool:
        asked.append((key, signed))
        return False

    assert not accepts_more_than_openssl(refuses)
    names = "valid with the cofactor only", "the same with the group's order added to S"
    assert [(key.hex(), signed[:64].hex(), False) for key, signed in asked] == [
        VECTORS[name] for name in names
    ]
    for key, signed in asked:
        assert not by_openssl(Ed25519PublicKey.from_public_bytes(key), signed[:64], signed[64:])
        assert accepts_more_than_openssl(accepts_under(key))


def test_a_process_that_did_not_load_it_verifies_by_openssl() -> None:
    """A build host's command verifies a signature or two, and loading takes as long as two hundred."""
    code = (
        "import sys\n"
        "from queueing.protocol.client_keys import ClientKey, ClientPublicKey\n"
        "key = ClientKey.generate()\n"
        "ClientPublicKey.from_spki(key.public_spki).verify_envelope(b'm', key.sign_envelope(b'm'))\n"
        "print('nacl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
