"""Certificates from outside, read whole.

``cryptography`` reads names and extensions when they are asked for, and half of what it raises is no ``ValueError``. A
certificate that is read here is read to its end, and raises nothing later but for its public key.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""Errors of ``cryptography`` for certificates, requests and public keys that it cannot read."""


def read_certificate(der: bytes) -> x509.Certificate:
    """Certificate in DER (RFC 5280). Raises ``ValueError`` for one that cannot be read."""
    with _value_errors():
        return _read_to_its_end(x509.load_der_x509_certificate(der))


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Certificates of a PEM file in its order, at least one. Raises ``ValueError`` as ``read_certificate`` does."""
    with _value_errors():
        return [_read_to_its_end(each) for each in x509.load_pem_x509_certificates(pem)]


def read_names(certificate: x509.Certificate) -> x509.Certificate:
    """The certificate, with its subject and issuer read; raises one of ``UNREADABLE``.

    ``cryptography`` keeps them, and warns of a common name of more than 64 bytes in UTF-8. RFC 5280 allows 64 characters.
    """
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        certificate.subject.rfc4514_string()
        certificate.issuer.rfc4514_string()
    return certificate


def _read_to_its_end(certificate: x509.Certificate) -> x509.Certificate:
    assert read_names(certificate).extensions is not None
    return certificate


@contextmanager
def _value_errors() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise ValueError(f"no certificate that can be read: {error!s:.200}") from error
