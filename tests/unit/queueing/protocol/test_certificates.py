"""Certificates from outside: one that cannot be read is a ``ValueError``, when it is read and not later."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.protocol import der
from queueing.protocol.certificates import read_certificate, read_certificates
from tests.support.artifacts.odd_certificates import CODE_SIGNING, UNREADABLE, certificate


def test_a_good_certificate_is_read() -> None:
    """With its extensions, and without any."""
    assert read_certificate(certificate(CODE_SIGNING)).serial_number == 7
    assert read_certificate(certificate()).serial_number == 7


def test_a_common_name_of_many_bytes_is_read_without_a_warning() -> None:
    """RFC 5280 bounds its characters; a warning would be printed to the user of a command."""
    name = der.sequence(
        der.tagged(der.SET, der.sequence(der.oid("2.5.4.3"), der.tagged(0x0C, ("名" * 64).encode())))
    )

    read = read_certificate(certificate(name=name))

    assert read.subject.rfc4514_string() == read.issuer.rfc4514_string() == "CN=" + "名" * 64


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_a_value_error(raw: bytes) -> None:
    """No error of another kind leaves it, now or when the certificate is used."""
    with pytest.raises(ValueError, match="no certificate that can be read"):
        read_certificate(raw)


def test_certificates_of_a_file_are_read_in_order_or_not_at_all() -> None:
    """One bad certificate spoils the file: no verifier can use a chain with a hole."""
    first, second = (
        x509.load_der_x509_certificate(certificate(serial=n)).public_bytes(Encoding.PEM) for n in (1, 2)
    )
    assert [each.serial_number for each in read_certificates(first + second)] == [1, 2]
    twice = x509.load_der_x509_certificate(UNREADABLE["an extension twice"]).public_bytes(Encoding.PEM)
    for bad in (first + twice, b"", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match="no certificate that can be read"):
            read_certificates(bad)
