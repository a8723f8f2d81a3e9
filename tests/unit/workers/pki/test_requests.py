"""Certificate requests: only the key's own signature makes one, and each name in it has one form."""

from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from queueing.protocol import der
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import spki_of
from workers.pki.names import NameInvalid, parse_alternative_name, parse_alternative_names, parse_subject
from workers.pki.requests import Profile, RequestContent, assemble


def public(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> PublicKey:
    """Its public half."""
    spki = spki_of(key)
    return PublicKey.from_spki(spki)


def test_a_request_keeps_an_attestation_as_it_is() -> None:
    """A reader that does not know the attribute still reads the request."""
    key = ed25519.Ed25519PrivateKey.generate()
    value = der.sequence(der.utf8("a statement"))
    content = RequestContent(subject=parse_subject("CN=a"), public_key=public(key), attestation=value)

    made = assemble(content, key.sign(content.to_be_signed()))

    attribute = x509.ObjectIdentifier("1.2.840.113549.1.9.16.2.59")
    assert made.attributes.get_attribute_for_oid(attribute).value == der.read(value).content
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CODE_SIGNING]


def test_another_keys_signature_makes_no_request() -> None:
    """A token that signs with another key is noticed here."""
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    content = RequestContent(subject=parse_subject("CN=a"), public_key=public(key), profile=Profile.NONE)

    with pytest.raises(ValueError, match="not the key's"):
        assemble(content, other.sign(content.to_be_signed(), ec.ECDSA(hashes.SHA256())))


@pytest.mark.parametrize(
    "text, value",
    [
        ("dns:sign.example", x509.DNSName("sign.example")),
        ("EMAIL:a@b.example", x509.RFC822Name("a@b.example")),
        ("uri:https://example.org/x:y", x509.UniformResourceIdentifier("https://example.org/x:y")),
    ],
)
def test_alternative_names_have_their_kind_before_a_colon(text: str, value: x509.GeneralName) -> None:
    """Further colons belong to the value."""
    assert parse_alternative_name(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "dns", "dns:", "dns:bücher.example", "x:y", "ip:300.1.1.1", "email:b\xfccher@x", "dns:a\nb", "dns:a b",
        "dns:a\0b", "email:nonsense", "email:@", "email:a@b@c", "uri:nonsense", "uri:https://x y", "uri:https://x\n",
        "ip:fe80::1%eth0",
    ],
)  # fmt: skip
def test_other_alternative_names_are_refused(text: str) -> None:
    """The error says so in the terms of the option."""
    with pytest.raises(NameInvalid, match=r"is no (kind of )?alternative name"):
        parse_alternative_name(text)


@pytest.mark.parametrize(
    "texts",
    [
        ("dns:a.example", "dns:a.example"),
        ("dns:a.example", "DNS:A.Example"),
        ("email:a@b.example", "uri:https://x", "email:a@B.example"),
        ("ip:::1", "ip:0:0::1"),
    ],
)
def test_an_alternative_name_that_is_given_twice_is_told(texts: tuple[str, ...]) -> None:
    """Also in other letters: an authority would refuse the request, or issue a certificate that nobody meant."""
    with pytest.raises(NameInvalid, match=f"`{re.escape(texts[-1])}` is given twice"):
        parse_alternative_names(texts)


def test_alternative_names_that_differ_are_taken_in_their_order() -> None:
    """A mailbox in other letters is another one (RFC 5321 2.4), and so is a path."""
    texts = (
        "dns:a.example",
        "dns:b.a.example",
        "email:A@b.example",
        "email:a@b.example",
        "uri:urn:x",
        "uri:urn:X",
    )

    assert [str(name.value) for name in parse_alternative_names(texts)] == [
        text.partition(":")[2] for text in texts
    ]


@pytest.mark.parametrize("text", ["cn=Example,o=Example Ltd", " CN = Example, O=Example Ltd"])
def test_types_are_read_in_any_case_and_with_blanks_around_them(text: str) -> None:
    """RFC 4514 3: types are not case-sensitive."""
    assert parse_subject(text).rfc4514_string() == "CN=Example,O=Example Ltd"


@pytest.mark.parametrize("type_", ["CN", "cn", "2.5.4.3"])
@pytest.mark.parametrize("letter", ["ü", "ж", "名", "😀"])
def test_a_common_name_may_have_64_characters_of_any_script(type_: str, letter: str) -> None:
    """RFC 5280 counts characters, not their bytes in UTF-8; and no warning is shown to the operator."""
    subject = parse_subject(f"{type_}={letter * 64},O={letter * 64}")
    key = ec.derive_private_key(3, ec.SECP256R1())
    content = RequestContent(subject=subject, public_key=public(key))

    request = assemble(content, key.sign(content.to_be_signed(), ec.ECDSA(hashes.SHA256())))

    assert subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == letter * 64
    assert subject.public_bytes() in request.tbs_certrequest_bytes


def test_subjects_of_extended_validation_are_read() -> None:
    """CSBR: business category, serial number and jurisdiction."""
    subject = parse_subject(
        "CN=A,O=A,serialNumber=HRB 1,businessCategory=Private Organization,jurisdictionC=DE,C=DE"
    )

    assert [a.oid.dotted_string for a in subject] == [
        "2.5.4.6", "1.3.6.1.4.1.311.60.2.1.3", "2.5.4.15", "2.5.4.5", "2.5.4.10", "2.5.4.3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, problem",
    [
        ("CN=" + "x" * 300, "has 300 characters, at most 64 are allowed"),
        ("CN=" + "ü" * 65, "has 65 characters, at most 64 are allowed"),
        ("CN=a,C=Germany", "has 7 characters, 2 to 2 are allowed"),
        ("CN=", "CN in the subject is empty"),
        ("CN=a\udcff", "bytes that are not UTF-8"),
    ],
)
def test_a_subject_of_a_wrong_length_or_encoding_is_told_in_plain_words(text: str, problem: str) -> None:
    """The library's own words are about attributes and surrogates."""
    with pytest.raises(NameInvalid, match=problem):
        parse_subject(text)
