"""Signing-certificate attributes (RFC 5035 3 and 4): the signed reference of a time-stamp to its signer's certificate.

RFC 3161 2.4.2 demands one, and RFC 5816 allows its second version. Without it the certificate beside the signature could be another
one of the same key, with other dates or of another authority.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.artifacts.cms import SignedData
from queueing.protocol import der
from queueing.protocol.algorithms import HASH_OIDS

SIGNING_CERTIFICATE: Final = der.oid("1.2.840.113549.1.9.16.2.12")
"""id-aa-signingCertificate, by SHA-1."""

SIGNING_CERTIFICATE_V2: Final = der.oid("1.2.840.113549.1.9.16.2.47")
"""id-aa-signingCertificateV2, by a hash that it names, or SHA-256."""

_DIRECTORY_NAME: Final = 0xA4
_HASHES: Final = {der.oid(HASH_OIDS[name]): name for name in ("sha256", "sha384", "sha512")}


def signer_problem(signed: SignedData, leaf: x509.Certificate) -> str | None:
    """The reason for which the attributes do not name this certificate; None where each of them does. Raises ``DerInvalid``."""
    first, second = signed.attribute(SIGNING_CERTIFICATE), signed.attribute(SIGNING_CERTIFICATE_V2)
    if first is None and second is None:
        return "the time-stamp does not say by which certificate it is signed (RFC 3161 2.4.2)"
    found = [(_first_id(each), kind) for each, kind in ((first, 1), (second, 2)) if each is not None]
    if all(_names(fields, kind, leaf) for fields, kind in found):
        return None
    return "the time-stamp names another certificate of its signer than the one in it"


def _first_id(attribute: bytes) -> list[der.Value]:
    """Fields of the first ESSCertID or ESSCertIDv2: that of the signer, before those of its issuers."""
    certificates, *_ = der.read(attribute).fields_or_more(der.SEQUENCE, 1)
    signer, *_ = certificates.fields_or_more(der.SEQUENCE, 1)
    return signer.fields_or_more(der.SEQUENCE, 1)


def _names(fields: list[der.Value], version: int, leaf: x509.Certificate) -> bool:
    hash_name: str | None = "sha1" if version == 1 else "sha256"
    if version == 2 and fields[0].tag == der.SEQUENCE:
        algorithm, *fields = fields
        hash_name = _HASHES.get(algorithm.fields_or_more(der.SEQUENCE, 1)[0].encoded)
    if hash_name is None or not fields:
        return False
    certificate = leaf.public_bytes(Encoding.DER)
    digest = hashlib.new(hash_name, certificate, usedforsecurity=False).digest()
    if fields[0].expect(der.OCTET_STRING).content != digest:
        return False
    return len(fields) == 1 or _is_issuer_and_serial(fields[1], leaf)


def _is_issuer_and_serial(value: der.Value, leaf: x509.Certificate) -> bool:
    """Whether an IssuerSerial is this certificate's: one directory name, and the serial number."""
    issuers, serial = value.fields(der.SEQUENCE, 2)
    names = [each.content for each in issuers.children() if each.tag == _DIRECTORY_NAME]
    return names == [leaf.issuer.public_bytes()] and serial.encoded == der.integer(leaf.serial_number)
