"""A signed statement is the pinned key's, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from queueing.artifacts.cms import read_signed_data
from queueing.protocol import der
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import rsa_key, spki_of
from workers.pki.cms import CertificateContent, SignedContent, SignedDataInvalid, open_signed

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
CONTENT = b'{"statement": "x"}'
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

KEYS: dict[str, Private] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa-3072": rsa_key(bits=3072),
}
HASHES: dict[str, hashes.SHA256 | hashes.SHA384] = {"p256": hashes.SHA256(), "p384": hashes.SHA384()}


def public(name: str) -> PublicKey:
    return PublicKey.from_spki(spki_of(KEYS[name]))


def sign(name: str, message: bytes) -> bytes:
    """As a token would."""
    key = KEYS[name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message, ec.ECDSA(HASHES[name]))


def certificate(name: str) -> x509.Certificate:
    content = CertificateContent(public_key=public(name), name="test statements", starts=AT)
    return content.assemble(sign(name, content.to_be_signed()))


def signed(name: str, content: bytes = CONTENT) -> bytes:
    """The content, signed by this key."""
    whole = SignedContent(content=content, certificate=certificate(name), signer=public(name), at=AT)
    return whole.assemble(sign(name, whole.to_be_signed()))


def test_a_message_of_an_ed25519_key_names_sha_512_without_parameters() -> None:
    """RFC 8419 3.1 has no other digest; OpenSSL 3.5.0 verifies this form, and none before it."""
    sha_512 = der.sequence(der.oid("2.16.840.1.101.3.4.2.3"))
    read = read_signed_data(signed("ed25519"))

    assert (read.signer[2], read.signer[4]) == (sha_512, der.sequence(der.oid("1.3.101.112")))
    assert read.before[1] == der.set_of([sha_512])


@pytest.mark.parametrize("name", list(KEYS))
def test_what_is_signed_is_read_and_verified(name: str) -> None:
    """By each kind of service key."""
    opened = open_signed(signed(name))

    opened.verify(public(name))
    assert opened.content == CONTENT
    made = certificate(name)
    made.verify_directly_issued_by(made)


def test_a_changed_byte_is_noticed_wherever_it_is() -> None:
    """A statement with a changed byte is refused, or has the same content."""
    raw = signed("p256")
    for i in range(len(raw)):
        changed = raw[:i] + bytes((raw[i] ^ 1,)) + raw[i + 1 :]
        try:
            opened = open_signed(changed)
            opened.verify(public("p256"))
        except SignedDataInvalid:
            continue
        assert opened.content == CONTENT


def test_another_keys_signature_is_refused() -> None:
    """With its certificate, and with the pinned key's certificate."""
    with pytest.raises(SignedDataInvalid, match="another key than the pinned"):
        open_signed(signed("p384")).verify(public("p256"))
    forged = SignedContent(content=CONTENT, certificate=certificate("p256"), signer=public("p256"), at=AT)
    other = ec.generate_private_key(ec.SECP256R1())
    raw = forged.assemble(other.sign(forged.to_be_signed(), ec.ECDSA(hashes.SHA256())))
    with pytest.raises(SignedDataInvalid, match="not the service key's"):
        open_signed(raw).verify(public("p256"))


def test_a_changed_content_is_named() -> None:
    """The digest in the signed attributes is that of another content."""
    raw = signed("p256").replace(b'"x"', b'"y"')

    with pytest.raises(SignedDataInvalid, match="content was changed"):
        open_signed(raw).verify(public("p256"))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Each is ``SignedDataInvalid``."""
    for data in (raw, b"0\x82" + raw):
        with pytest.raises(SignedDataInvalid):
            open_signed(data)
