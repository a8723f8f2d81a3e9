"""Reading of certificate chains as authorities send them: PEM, DER, and files that are something else."""

from __future__ import annotations

import codecs
import warnings
from typing import TYPE_CHECKING, Final

from cryptography import x509

from queueing.protocol import der
from queueing.protocol.certificates import UNREADABLE, read_names
from workers.pki.chains import LEAF_FIRST, Chain, ChainInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_BYTES: Final = 256 * 1024
"""Ten certificates with every extension have less than 30 kB; the rest are comments of authorities."""

_MOST_CERTIFICATES: Final = 10
_BEGIN: Final = b"-----BEGIN "


def read_chain(raw: bytes) -> Chain:
    """Chain of a PEM file, or the one certificate of a DER file. Raises ``ChainInvalid``.

    A byte order mark, CRLF and text outside of the certificates are ignored.
    """
    if len(raw) > LARGEST_BYTES:
        raise ChainInvalid(f"the file has more than {LARGEST_BYTES // 1024} kB, no chain does", LEAF_FIRST)
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ChainInvalid("the file is UTF-16", "Save it as plain text (ASCII or UTF-8).")
    if _BEGIN not in raw:
        return _read_der(raw)
    raw = raw.replace(b"\r\n", b"\n")  # of text alone: in DER these two bytes are part of a number
    if b"PRIVATE KEY-----" in raw:
        raise ChainInvalid(
            "the file has a private key in it",
            "Find out whose it is: the keys of Sigmill never leave their tokens. Give a file with certificates alone.",
        )
    if b"-----BEGIN PKCS7-----" in raw:
        raise _pkcs7()
    if b"-----BEGIN CERTIFICATE REQUEST-----" in raw and b"-----BEGIN CERTIFICATE-----" not in raw:
        raise ChainInvalid(
            "the file has a request, not a certificate", "Send it to an authority, and give what that issues."
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            certificates = x509.load_pem_x509_certificates(raw)
    except UNREADABLE:
        raise ChainInvalid(
            "the file has PEM blocks, but one of them is no certificate, or is damaged", LEAF_FIRST
        ) from None
    if len(certificates) < raw.count(_BEGIN + b"CERTIFICATE-----"):
        raise ChainInvalid("a certificate in the file is cut off", "Copy the file again, as a whole.")
    if len(certificates) > _MOST_CERTIFICATES:
        raise ChainInvalid(
            f"the file has {len(certificates)} certificates, a chain has at most 10", LEAF_FIRST
        )
    return _with_readable_names(certificates)


def _read_der(raw: bytes) -> Chain:
    try:
        whole = der.read_first(raw)
        fields = list(whole.expect(der.SEQUENCE).children())
    except der.DerInvalid:
        raise ChainInvalid("the file is no certificate, neither PEM nor DER", LEAF_FIRST) from None
    if fields and fields[0].encoded == der.integer(3):
        raise ChainInvalid(
            "the file is a PKCS#12, which holds a private key",
            "The key of Sigmill is in its token. Give the chain alone: openssl pkcs12 -in FILE -nokeys -out CHAIN.pem",
        )
    if fields and fields[0].tag == der.OID:
        raise _pkcs7()
    if behind := len(raw) - len(whole.encoded):
        raise ChainInvalid(
            f"the file is DER, and has {behind} bytes behind the end of its first structure",
            "A DER file is one certificate and nothing else. Copy it again as it was sent (not as text), and give several as PEM:"
            " openssl x509 -inform DER -in FILE -out CHAIN.pem",
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            certificate = x509.load_der_x509_certificate(raw)
    except UNREADABLE:
        raise ChainInvalid("the file is DER, but no certificate", LEAF_FIRST) from None
    return _with_readable_names([certificate])


def _with_readable_names(certificates: Sequence[x509.Certificate]) -> Chain:
    """Chain of certificates whose names can be read: ``cryptography`` reads them when they are asked for."""
    for number, certificate in enumerate(certificates, 1):
        try:
            read_names(certificate)
        except UNREADABLE:
            raise ChainInvalid(
                f"the subject or the issuer of certificate {number} is damaged",
                "Get the chain from the authority again.",
            ) from None
    return Chain(tuple(certificates))


def _pkcs7() -> ChainInvalid:
    return ChainInvalid(
        "the file is a PKCS#7, in which certificates have no order",
        "Convert it: openssl pkcs7 -print_certs -in FILE -out CHAIN.pem (-inform DER for .p7b), then put the key's"
        " certificate first.",
    )
