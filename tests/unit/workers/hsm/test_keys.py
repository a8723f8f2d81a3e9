"""A key is found by its public key alone, however the token shows it, and judged by its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import (
    AttributeTypeInvalid,
    DeviceRemoved,
    FunctionFailed,
    ObjectHandleInvalid,
    PKCS11Error,
)

from queueing.errors import KeyDisabled, TokenUnavailable
from queueing.protocol.der import octets
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import rsa_key, spki_of
from workers.hsm.encodings import CURVE_OF, curve_point, rsa_numbers
from workers.hsm.faults import Action, HsmFailure
from workers.hsm.keys import (
    REQUIRED_ATTRIBUTES,
    KeyMissing,
    KeyRefused,
    find_key,
    read_attributes,
    require_attributes,
)
from workers.lanes.protocol import KEY_NOT_FOUND

GOOD = {Attribute[name.removeprefix("CKA_")]: wanted for name, wanted in REQUIRED_ATTRIBUTES.items()}


def pin(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> PublicKey:
    der = spki_of(private)
    return PublicKey.from_spki(der)


P256 = pin(ec.generate_private_key(ec.SECP256R1()))
ED25519 = pin(ed25519.Ed25519PrivateKey.generate())
RSA = pin(rsa_key())


class FakeObject(pkcs11.Object):
    """An object of a token: its attributes, and whether it can be asked for several at once."""

    bulk: PKCS11Error | None = None
    fails: frozenset[Attribute] = frozenset()

    def __init__(self, handle: int, values: dict[Attribute, Any]) -> None:
        self._handle, self.values = handle, values

    @property
    def handle(self) -> int:
        return self._handle

    def get_attributes(self, keys: list[Attribute]) -> dict[Attribute, Any]:
        if self.bulk is not None:
            raise self.bulk
        return {key: self.values[key] for key in keys if key in self.values}

    def __getitem__(self, key: Attribute) -> Any:
        if key in self.fails:
            raise FunctionFailed
        if key not in self.values:
            raise AttributeTypeInvalid
        return self.values[key]


class FakePrivate(FakeObject, pkcs11.PrivateKey, pkcs11.SignMixin):
    """A private key that may sign."""


class FakeSession:
    def __init__(self, *found: FakeObject, fails: PKCS11Error | None = None) -> None:
        self.found, self.fails = found, fails

    def get_objects(self, template: dict[Attribute, Any]) -> Iterator[FakeObject]:
        if self.fails is not None:
            raise self.fails
        return iter(o for o in self.found if all(o.values.get(k) == v for k, v in template.items()))


def find(public_key: PublicKey, *found: FakeObject, fails: PKCS11Error | None = None) -> object:
    return find_key(cast("pkcs11.Session", FakeSession(*found, fails=fails)), public_key)


def private(handle: int, key_type: KeyType, **values: Any) -> FakePrivate:
    own = {Attribute[name]: value for name, value in values.items()}
    base = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: key_type}
    return FakePrivate(handle, {**GOOD, **base, **own})


def public(
    handle: int, key: PublicKey, key_id: bytes, *, wrapped: bool = True, params: int = 0
) -> FakeObject:
    point = curve_point(key.spki)
    return FakeObject(
        handle,
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.EC_EDWARDS if key is ED25519 else KeyType.EC,
            Attribute.ID: key_id,
            Attribute.EC_POINT: octets(point) if wrapped else point,
            Attribute.EC_PARAMS: CURVE_OF[key.kind].params[params],
        },
    )


def rsa_private(handle: int) -> FakePrivate:
    modulus, exponent = rsa_numbers(RSA.spki)
    return private(handle, KeyType.RSA, MODULUS=modulus, PUBLIC_EXPONENT=exponent)


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_ec_key_is_found_by_its_point_wrapped_or_raw(wrapped: bool) -> None:
    wanted, other = private(3, KeyType.EC, ID=b"a"), private(4, KeyType.EC, ID=b"b")
    assert find(P256, public(1, P256, b"a", wrapped=wrapped), wanted, other) is wanted


@pytest.mark.parametrize("params", range(3))
def test_an_ed25519_key_is_found_however_its_curve_is_named(params: int) -> None:
    wanted = private(3, KeyType.EC_EDWARDS, ID=b"a")
    assert find(ED25519, public(1, ED25519, b"a", params=params), wanted) is wanted


def test_an_rsa_key_is_found_without_a_public_object() -> None:
    wanted = rsa_private(1)
    assert find(RSA, wanted, private(2, KeyType.RSA, MODULUS=b"other", PUBLIC_EXPONENT=b"\1\0\1")) is wanted


def test_a_point_on_another_curve_is_another_key() -> None:
    stranger = public(1, P256, b"a")
    stranger.values[Attribute.EC_PARAMS] = bytes.fromhex("06052b8104000a")  # secp256k1
    with pytest.raises(KeyMissing):
        find(P256, stranger, private(3, KeyType.EC, ID=b"a"))


def test_a_public_object_without_an_id_leads_nowhere() -> None:
    """An empty CKA_ID would match every private key that has none."""
    with pytest.raises(KeyMissing):
        find(P256, public(1, P256, b""), private(3, KeyType.EC, ID=b""))


def test_two_public_objects_of_one_key_are_no_harm() -> None:
    wanted = private(3, KeyType.EC, ID=b"a")
    assert find(P256, public(1, P256, b"a"), public(2, P256, b"a", wrapped=False), wanted) is wanted


def test_no_key_is_the_tokens_fault_and_retryable() -> None:
    """The worker knows a missing key by this message."""
    for key in (P256, ED25519, RSA):
        with pytest.raises(TokenUnavailable) as caught:
            find(key)
        assert caught.value.message == KEY_NOT_FOUND
        assert caught.value.retryable


@pytest.mark.parametrize("count", [2, 3])
def test_several_keys_are_refused_with_their_number(count: int) -> None:
    with pytest.raises(KeyDisabled, match=f"found {count} times"):
        find(RSA, *(rsa_private(handle) for handle in range(count)))
    twins = [private(handle, KeyType.EC, ID=b"a") for handle in range(count)]
    with pytest.raises(KeyDisabled, match=f"found {count} times"):
        find(P256, public(9, P256, b"a"), *twins)


def test_a_failing_token_is_a_failure() -> None:
    with pytest.raises(HsmFailure) as caught:
        find(RSA, fails=DeviceRemoved())
    assert caught.value.code_name == "CKR_DEVICE_REMOVED"


@pytest.mark.parametrize("name, wanted", REQUIRED_ATTRIBUTES.items())
def test_one_wrong_attribute_is_enough_and_is_named(name: str, wanted: bool) -> None:
    key = rsa_private(1)
    key.values[Attribute[name.removeprefix("CKA_")]] = not wanted
    with pytest.raises(KeyRefused) as caught:
        find(RSA, key)
    assert caught.value.message.endswith(f": {name} is not {str(wanted).lower()}")
    assert not caught.value.retryable


@pytest.mark.parametrize("name", REQUIRED_ATTRIBUTES)
def test_an_attribute_that_the_token_does_not_show_is_not_taken_for_granted(name: str) -> None:
    key = rsa_private(1)
    del key.values[Attribute[name.removeprefix("CKA_")]]
    with pytest.raises(KeyRefused, match=name):
        find(RSA, key)


@pytest.mark.parametrize("bulk", [AttributeTypeInvalid(), FunctionFailed()])
def test_a_token_that_cannot_show_several_attributes_at_once_is_asked_for_each(bulk: PKCS11Error) -> None:
    key = rsa_private(1)
    key.bulk = bulk
    assert require_attributes(key) == REQUIRED_ATTRIBUTES
    del key.values[Attribute.LOCAL]
    assert "CKA_LOCAL" not in read_attributes(key)


def test_a_token_that_fails_while_attributes_are_read_is_no_refusal_of_the_key() -> None:
    """The session is replaced and the key looked up again; a refusal would be final for the job."""
    key = rsa_private(1)
    key.bulk, key.fails = FunctionFailed(), frozenset(GOOD)
    with pytest.raises(HsmFailure) as caught:
        find(RSA, key)
    assert (caught.value.code_name, caught.value.action) == ("CKR_FUNCTION_FAILED", Action.DROP_SESSION)


def test_a_public_object_that_fails_is_no_key_that_is_missing() -> None:
    """Whether the token has the key is not known then."""
    found = public(1, P256, b"a")
    found.bulk, found.fails = FunctionFailed(), frozenset(found.values)
    with pytest.raises(HsmFailure, match="CKR_FUNCTION_FAILED"):
        find(P256, found, private(3, KeyType.EC, ID=b"a"))


def test_an_attribute_that_fails_among_others_that_are_shown_is_not_taken_for_granted() -> None:
    """Some tokens return this error for attributes that they do not have."""
    key = rsa_private(1)
    key.bulk, key.fails = FunctionFailed(), frozenset({Attribute.LOCAL})
    with pytest.raises(KeyRefused, match="CKA_LOCAL"):
        find(RSA, key)


def test_numbers_with_a_leading_zero_are_the_same_key() -> None:
    modulus, exponent = rsa_numbers(RSA.spki)
    wanted = private(1, KeyType.RSA, MODULUS=b"\0" + modulus, PUBLIC_EXPONENT=b"\0" + exponent)
    assert find(RSA, wanted) is wanted


def test_a_private_object_without_its_numbers_is_known_by_its_public_object() -> None:
    modulus, exponent = rsa_numbers(RSA.spki)
    wanted, other = private(1, KeyType.RSA, ID=b"a"), private(2, KeyType.RSA, ID=b"b")
    shown = {Attribute.KEY_TYPE: KeyType.RSA, Attribute.MODULUS: modulus, Attribute.PUBLIC_EXPONENT: exponent}
    half = FakeObject(3, {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: b"a", **shown})
    assert find(RSA, wanted, other, half) is wanted


def test_without_an_id_the_label_leads_from_the_public_to_the_private_object() -> None:
    half = public(1, P256, b"")
    half.values[Attribute.LABEL] = "release"
    wanted, other = private(3, KeyType.EC, LABEL="release"), private(4, KeyType.EC, LABEL="other")
    assert find(P256, half, wanted, other) is wanted


def test_a_handle_that_is_found_twice_is_one_key() -> None:
    wanted = rsa_private(1)
    assert find(RSA, wanted, wanted) is wanted


def test_a_key_that_wants_the_pin_for_each_signature_is_refused() -> None:
    key = rsa_private(1)
    key.values[Attribute.ALWAYS_AUTHENTICATE] = True
    with pytest.raises(KeyRefused, match="CKA_ALWAYS_AUTHENTICATE is true"):
        find(RSA, key)


@pytest.mark.parametrize(
    "allowed, refused", [((0x40,), True), ((0x40, 0x1), False), ((0xD,), False), ((), False)]
)
def test_a_key_must_allow_a_mechanism_that_signs_a_digest(allowed: tuple[int, ...], refused: bool) -> None:
    key = rsa_private(1)
    key.values[Attribute.ALLOWED_MECHANISMS] = allowed
    if not refused:
        assert find(RSA, key) is key
        return
    with pytest.raises(
        KeyRefused, match="CKA_ALLOWED_MECHANISMS does not have CKM_RSA_PKCS or CKM_RSA_PKCS_PSS"
    ):
        find(RSA, key)


class Destroyed(FakePrivate):
    """Key that another application destroys so often just after it was found."""

    times = 2

    def get_attributes(self, keys: list[Attribute]) -> dict[Attribute, Any]:
        if self.times > 0:
            self.times -= 1
            raise ObjectHandleInvalid
        return {}


def test_a_key_that_another_application_destroys_during_the_search_hides_no_other() -> None:
    """Else each key that comes and goes in the token would end a lane that looks for its own."""
    modulus, exponent = rsa_numbers(RSA.spki)
    wanted = private(1, KeyType.RSA, MODULUS=b"\0" + modulus, PUBLIC_EXPONENT=exponent)
    assert find(RSA, Destroyed(9, {Attribute.CLASS: ObjectClass.PRIVATE_KEY}), wanted) is wanted


def test_a_token_whose_keys_vanish_at_each_look_is_a_failure() -> None:
    item = Destroyed(9, {Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    item.times = 99
    with pytest.raises(HsmFailure, match="CKR_OBJECT_HANDLE_INVALID"):
        find(RSA, item)
