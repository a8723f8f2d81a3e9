"""The token administration signs whole messages, and lets none out that does not verify."""

from __future__ import annotations

from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pkcs11 import Mechanism

from queueing.errors import Invalid
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import spki_of
from workers.hsm import messages
from workers.hsm.faults import HsmFailure

MESSAGE = b"certificate request" * 100


class FakeEdwardsKey:
    """A module's Ed25519 key."""

    def __init__(self, signs_with: ed25519.Ed25519PrivateKey) -> None:
        self._key = signs_with

    def sign(self, data: bytes, /, *, mechanism: Mechanism, **_: object) -> bytes:
        assert mechanism is Mechanism.EDDSA
        return self._key.sign(data)


def spki(key: ed25519.Ed25519PrivateKey) -> PublicKey:
    der = spki_of(key)
    return PublicKey.from_spki(der)


def sign(monkeypatch: pytest.MonkeyPatch, public_key: PublicKey, key: object, message: bytes) -> bytes:
    """``sign_message`` with a key that was found."""
    monkeypatch.setattr(messages, "find_key", lambda *_: key)
    return messages.sign_message(cast("Any", None), public_key, message)


def test_an_edwards_key_signs_the_message_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ed25519 includes the hash; the signature of the message's digest would be another one."""
    key = ed25519.Ed25519PrivateKey.generate()

    signature = sign(monkeypatch, spki(key), FakeEdwardsKey(key), MESSAGE)

    key.public_key().verify(signature, MESSAGE)


def test_another_keys_signature_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that does not verify is a fault of the HSM, as in a lane."""
    key, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()

    with pytest.raises(HsmFailure, match="SIGNATURE_DISTRUSTED"):
        sign(monkeypatch, spki(key), FakeEdwardsKey(other), MESSAGE)


def test_a_message_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger one never reaches the module."""
    key = ed25519.Ed25519PrivateKey.generate()

    monkeypatch.setattr(FakeEdwardsKey, "sign", lambda *_, **__: pytest.fail("the module has it"))

    with pytest.raises(Invalid, match="65537 bytes"):
        sign(monkeypatch, spki(key), FakeEdwardsKey(key), bytes(65_537))


def test_other_keys_sign_the_hash_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default algorithm of the kind of key is used; an ECDSA signature is in DER."""
    key = ec.generate_private_key(ec.SECP384R1())
    der = spki_of(key)

    class FakeCurveKey:
        def sign(self, data: bytes, /, **_: object) -> bytes:
            from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(Prehashed(hashes.SHA384()))))
            return r.to_bytes(48, "big") + s.to_bytes(48, "big")

    signature = sign(monkeypatch, PublicKey.from_spki(der), FakeCurveKey(), MESSAGE)

    key.public_key().verify(signature, MESSAGE, ec.ECDSA(hashes.SHA384()))
