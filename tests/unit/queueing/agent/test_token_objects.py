"""Objects have the attributes of their keys, byte for byte as PKCS#11 wants them."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.agent.cryptoki import SECRET_ATTRIBUTES, Attribute, KeyType, ObjectClass
from queueing.agent.token_objects import TokenKey, TokenObject, objects_of
from queueing.protocol.public_keys import PublicKey
from tests.support.certificates import issue
from tests.support.keys import rsa_key, spki_of

CURVES = {
    "06082a8648ce3d030107": ec.SECP256R1(),
    "06052b81040022": ec.SECP384R1(),
    "06052b81040023": ec.SECP521R1(),
}


def objects(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *certificates: bytes) -> list[TokenObject]:
    return list(
        objects_of(
            TokenKey(
                name="release",
                spec="release/1",
                public_key=PublicKey.from_spki(spki_of(key)),
                algorithms=(),
                certificates=certificates,
            )
        )
    )


def test_an_rsa_key_has_modulus_and_exponent() -> None:
    """Unsigned, big-endian, without leading zeros (PKCS#11 3.1, 6.1.2)."""
    key = rsa_key()
    numbers = key.public_key().public_numbers()
    private, public = objects(key)
    for each in (private, public):
        assert each.attributes[Attribute.KEY_TYPE] == KeyType.RSA
        assert each.attributes[Attribute.MODULUS] == numbers.n.to_bytes(256, "big")
        assert each.attributes[Attribute.PUBLIC_EXPONENT] == b"\x01\x00\x01"
        assert each.attributes[Attribute.MODULUS_BITS] == 2048


@pytest.mark.parametrize("oid", CURVES)
def test_an_ec_key_has_curve_and_point(oid: str) -> None:
    """The curve's OID, and the uncompressed point in an OCTET STRING (PKCS#11 3.1, 6.3.3)."""
    key = ec.generate_private_key(CURVES[oid])
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    private, public = objects(key)
    for each in (private, public):
        wrapped = each.attributes[Attribute.EC_POINT]
        assert isinstance(wrapped, bytes)
        assert each.attributes[Attribute.EC_PARAMS] == bytes.fromhex(oid)
        assert wrapped.endswith(point)
        assert len(wrapped) - len(point) == (3 if len(point) > 127 else 2)


def test_nothing_of_a_private_key_is_secret() -> None:
    """The object names a key in an HSM: it has only what the public key has."""
    private, public = objects(rsa_key())
    assert private.attributes[Attribute.CLASS] == ObjectClass.PRIVATE_KEY
    assert not SECRET_ATTRIBUTES & set(private.attributes)
    assert private.key is not None
    assert public.key is None
    assert private.attributes[Attribute.SIGN] is True


def test_a_certificate_has_names_and_serial_number_in_der() -> None:
    """Java finds issuers by CKA_SUBJECT, and libp11 certificates by CKA_ID."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = issue(None, key, "CA")
    loaded = x509.load_der_x509_certificate(der)
    *_, shown = objects(key, der)
    assert shown.attributes[Attribute.SUBJECT] == loaded.subject.public_bytes()
    serial = shown.attributes[Attribute.SERIAL_NUMBER]
    assert isinstance(serial, bytes)
    assert (serial[0], serial[1]) == (2, len(serial) - 2)
    assert int.from_bytes(serial[2:], "big", signed=True) == loaded.serial_number
    assert shown.attributes[Attribute.VALUE] == der


def test_objects_of_one_key_differ_in_identity() -> None:
    """Handles are given by identity: two objects with one handle would be one."""
    key = ec.generate_private_key(ec.SECP256R1())
    identities = [each.identity for each in objects(key, issue(None, key, "CA"))]
    assert len(set(identities)) == len(identities) == 3


@pytest.mark.parametrize(
    "template, matches",
    [
        ([], True),
        ([(Attribute.SIGN, True)], True),
        ([(Attribute.SIGN, False)], False),
        ([(Attribute.MODULUS, b"")], False),
        ([(Attribute.LABEL, None)], False),
    ],
)
def test_an_object_matches_a_template_it_has_all_of(template: list, matches: bool) -> None:  # type: ignore[type-arg]
    """C_FindObjectsInit: an attribute that the object does not have matches no value."""
    private, _ = objects(ec.generate_private_key(ec.SECP256R1()))
    assert private.matches(template) is matches


@pytest.mark.parametrize("kind", [Attribute.LABEL, Attribute.ID])
def test_the_newest_version_is_found_by_its_number_too(kind: Attribute) -> None:
    """A pinned version keeps working when a rotation gives the bare name to the next one; what it is called stays."""
    key = ec.generate_private_key(ec.SECP256R1())
    found = objects(key, issue(None, key, "CA"))
    assert all(each.matches([(kind, b"release/1")]) for each in found)
    assert all(each.attributes[kind] == b"release" for each in found)
    assert not any(each.matches([(kind, b"release/2")]) for each in found)
