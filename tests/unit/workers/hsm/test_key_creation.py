"""Keys of a token are listed in one pass, whatever their number, and each that cannot sign here has its reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import AttributeTypeInvalid, DeviceRemoved, GeneralError, MechanismInvalid, PKCS11Error

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.der import octets
from workers.hsm.encodings import CURVE_OF, curve_point
from workers.hsm.faults import HsmFailure
from workers.hsm.key_creation import adopt_key, create_key, list_keys
from workers.hsm.keys import REQUIRED_ATTRIBUTES, KeyRefused

GOOD = {Attribute[name.removeprefix("CKA_")]: wanted for name, wanted in REQUIRED_ATTRIBUTES.items()}
P256 = CURVE_OF[KeyKind.P256].params[0]


class FakeObject(pkcs11.Object):
    """Object that counts how often it is read."""

    def __init__(self, handle: int, values: dict[Attribute, Any]) -> None:
        self._handle, self.values, self.reads = handle, values, 0

    @property
    def handle(self) -> int:
        return self._handle

    def get_attributes(self, keys: list[Attribute]) -> dict[Attribute, Any]:
        self.reads += 1
        return {key: self.values[key] for key in keys if key in self.values}

    def __getitem__(self, key: Attribute) -> Any:
        if key not in self.values:
            raise AttributeTypeInvalid
        return self.values[key]


class FakePrivate(FakeObject, pkcs11.PrivateKey, pkcs11.SignMixin):
    """Private key that may sign."""


class FakeSession:
    """Token that counts its searches, lists these mechanisms, and fails to create a key with this error."""

    def __init__(
        self,
        *found: FakeObject,
        mechanisms: frozenset[Mechanism] = frozenset({Mechanism.ECDSA}),
        error: PKCS11Error | None = None,
    ) -> None:
        self.found, self.searches = found, 0
        self.mechanisms, self.error = mechanisms, error

    @property
    def token(self) -> FakeSession:
        return self

    @property
    def slot(self) -> FakeSession:
        return self

    def get_mechanisms(self) -> frozenset[Mechanism]:
        return self.mechanisms

    def generate_keypair(self, *_: object, **__: object) -> None:
        assert self.error is not None
        raise self.error

    def get_objects(self, template: dict[Attribute, Any]) -> Iterator[FakeObject]:
        self.searches += 1
        return iter(o for o in self.found if all(o.values.get(k) == v for k, v in template.items()))


def pair(number: int, **private: Any) -> list[FakeObject]:
    """A P-256 pair; its private object shows no point, as most."""
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    common = {
        Attribute.KEY_TYPE: KeyType.EC,
        Attribute.ID: b"%d" % number,
        Attribute.LABEL: f"key-{number:03}",
    }
    shown = {**GOOD, **common, **{Attribute[name]: value for name, value in private.items()}}
    return [
        FakeObject(
            2 * number,
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                **common,
                Attribute.EC_PARAMS: P256,
                Attribute.EC_POINT: octets(curve_point(spki)),
            },
        ),
        FakePrivate(2 * number + 1, {Attribute.CLASS: ObjectClass.PRIVATE_KEY, **shown}),
    ]


def test_a_listing_searches_twice_and_reads_each_object_a_fixed_number_of_times() -> None:
    """2,000 pairs once took two minutes: a search for each."""
    found = [each for number in range(50) for each in pair(number)]
    session = FakeSession(*found)
    listed = list_keys(cast("pkcs11.Session", session))
    assert [record.label for record in listed] == [f"key-{number:03}" for number in range(50)]
    assert session.searches == 2
    assert {item.reads for item in found} == {1, 2}, (
        "its identity, and of private keys the required attributes"
    )


@pytest.mark.parametrize(
    "shown, words",
    [
        ({"KEY_TYPE": KeyType.DSA}, "of no kind that signs here"),
        (
            {"KEY_TYPE": KeyType.RSA, "MODULUS": b"\x80" + bytes(256), "PUBLIC_EXPONENT": b"\3"},
            "RSA of 2056 bits",
        ),
        ({"EC_PARAMS": b"\x30\x81\xf7"}, "explicit curve parameters"),
        ({"EC_PARAMS": b"\x06\x05\x2b\x81\x04\x00\x0a"}, "another curve"),
        ({"ID": b"elsewhere"}, "its public key is not in the token exactly once"),
    ],
)
def test_a_key_that_cannot_sign_here_is_refused_with_the_reason_and_not_listed(
    shown: dict[str, Any], words: str
) -> None:
    session = cast("pkcs11.Session", FakeSession(*pair(1, **shown), *pair(2)))
    with pytest.raises(KeyRefused, match=words):
        adopt_key(session, label="key-001")
    assert [record.label for record in list_keys(session)] == ["key-002"]


def test_a_key_whose_mechanism_the_token_does_not_list_is_not_adopted() -> None:
    """p11-kit's client shows an Ed25519 key in SoftHSM, and cannot sign with it."""
    bare = FakeSession(*pair(1), mechanisms=frozenset({Mechanism.RSA_PKCS, Mechanism.ECDSA_SHA256}))
    with pytest.raises(KeyRefused, match="does not list CKM_ECDSA, so a P256 key in it cannot sign digests"):
        adopt_key(cast("pkcs11.Session", bare), label="key-001")
    assert adopt_key(cast("pkcs11.Session", FakeSession(*pair(1))), label="key-001").label == "key-001"


def test_a_token_that_creates_no_such_key_is_named_with_its_reason_and_the_way_out() -> None:
    session = cast("pkcs11.Session", FakeSession(error=MechanismInvalid()))
    with pytest.raises(KeyRefused) as refused:
        create_key(session, KeyKind.RSA_2048, "new")
    assert "creates no RSA_2048 key" in refused.value.message
    assert "(CKR_MECHANISM_INVALID)" in refused.value.message
    assert "`sigmill keys adopt`" in refused.value.message


@pytest.mark.parametrize("error", [GeneralError(), DeviceRemoved()])
def test_a_failure_while_a_key_is_created_stays_a_failure_and_says_what_to_do(error: PKCS11Error) -> None:
    """tpm2-pkcs11 fails with CKR_GENERAL_ERROR for a template that it does not understand."""
    session = cast("pkcs11.Session", FakeSession(error=error))
    with pytest.raises(HsmFailure, match=r"while the token created the key; if that repeats.*keys adopt"):
        create_key(session, KeyKind.RSA_2048, "new")
