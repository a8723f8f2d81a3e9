"""Authenticode: the content and the attributes by which CMS SignedData signs PE, MSI and CAB files.

Source: "Windows Authenticode Portable Executable Signature Format", version 1.0 (2008). Page hashes are not written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from queueing.artifacts import cms
from queueing.errors import AlgorithmMismatch
from queueing.protocol import der
from queueing.protocol.algorithms import FACTS, HASH_OIDS, Scheme

INDIRECT_DATA: Final = der.oid("1.3.6.1.4.1.311.2.1.4")
NESTED_SIGNATURE: Final = der.oid("1.3.6.1.4.1.311.2.4.1")
TIME_STAMP: Final = der.oid("1.3.6.1.4.1.311.3.3.1")
"""szOID_RFC3161_counterSign."""

_STATEMENT_TYPE: Final = der.oid("1.3.6.1.4.1.311.2.1.11")
_INDIVIDUAL: Final = der.oid("1.3.6.1.4.1.311.2.1.21")
_OPUS_INFO: Final = der.oid("1.3.6.1.4.1.311.2.1.12")
_OBSOLETE: Final = der.context(
    0, der.context(2, der.context(0, "<<<Obsolete>>>".encode("utf-16-be"), constructed=False))
)
"""SpcLink to a file of this name, as the format's own tools write it."""

PE_IMAGE: Final = der.sequence(
    der.oid("1.3.6.1.4.1.311.2.1.15"), der.sequence(der.tagged(der.BIT_STRING, b"\0"), _OBSOLETE)
)
"""SpcPeImageData without flags."""

CABINET: Final = der.sequence(der.oid("1.3.6.1.4.1.311.2.1.25"), der.read(_OBSOLETE).content)
"""SpcLink to that file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Name and address of a program, which Windows shows; either may be empty."""

    program: str = ""
    url: str = ""

    def attributes(self) -> tuple[bytes, ...]:
        """The signed attributes beyond those of CMS."""
        fields = []
        if self.program:
            name = der.context(0, self.program.encode("utf-16-be"), constructed=False)
            fields.append(der.context(0, name))
        if self.url:
            link = der.context(0, self.url.encode("ascii"), constructed=False)
            fields.append(der.context(1, link))
        return (
            cms.attribute(_OPUS_INFO, der.sequence(*fields)),
            cms.attribute(_STATEMENT_TYPE, der.sequence(_INDIVIDUAL)),
        )


NO_DESCRIPTION: Final = Description()


def check_algorithm(signer: cms.Signer) -> None:
    """Raise ``AlgorithmMismatch`` for PSS, which Windows does not take in Authenticode."""
    if FACTS[signer.algorithm].scheme is Scheme.PSS:
        raise AlgorithmMismatch(
            f"Windows refuses {signer.algorithm} in Authenticode",
            hint="Name an algorithm with PKCS #1 v1.5 or ECDSA by --algorithm.",
        )


def unsigned(
    signer: cms.Signer, subject: bytes, digest: bytes, description: Description = NO_DESCRIPTION
) -> cms.Unsigned:
    """SignedData for a file with this digest, before its signature; ``subject`` is ``PE_IMAGE`` or its like."""
    content = indirect_data(subject, signer.hash_name, digest)
    return cms.Unsigned.of(
        signer,
        _content_digest(signer.hash_name, content),
        content_type=INDIRECT_DATA,
        content=content,
        more=description.attributes(),
    )


def indirect_data(subject: bytes, hash_name: str, digest: bytes) -> bytes:
    """SpcIndirectDataContent in DER."""
    return der.sequence(subject, der.sequence(cms.digest_algorithm(hash_name), der.octets(digest)))


def is_by(signed: cms.SignedData, signer: cms.Signer, digest: bytes) -> bool:
    """Whether this signer made the signature, over a file with this digest; never raises."""
    try:
        if signed.content is None or signed.content_type != INDIRECT_DATA:
            return False
        _, info = der.read(signed.content).fields(der.SEQUENCE, 2)
        algorithm, stated = info.fields(der.SEQUENCE, 2)
        hash_oid = next(algorithm.expect(der.SEQUENCE).children()).encoded
    except (der.DerInvalid, StopIteration):
        return False
    expected = (der.oid(HASH_OIDS[signer.hash_name]), der.octets(digest))
    if (hash_oid, stated.encoded) != expected:
        return False
    return signed.is_by(signer, _content_digest(signer.hash_name, signed.content))


def with_nested(outer: cms.SignedData, inner: bytes) -> bytes:
    """The outer signature with a further one nested in it: a verifier that knows no nesting sees the outer one only.

    Raises ``DerInvalid`` if its nested signatures cannot be read.
    """
    value = der.read(inner).encoded
    kept, nested = [], []
    for each in outer.unsigned_attributes:
        kind, values = der.read(each).fields(der.SEQUENCE, 2)
        if kind.encoded == NESTED_SIGNATURE:
            nested += [found.encoded for found in values.expect(der.SET).children()]
        else:
            kept.append(each)
    attribute = der.sequence(NESTED_SIGNATURE, der.tagged(der.SET, *nested, value))
    return outer.replacing_unsigned((*kept, attribute))


def all_signatures(outer: cms.SignedData) -> list[cms.SignedData]:
    """The signature and those nested in it. Raises ``DerInvalid``."""
    found = [outer]
    for each in outer.unsigned_attributes:
        kind, values = der.read(each).fields(der.SEQUENCE, 2)
        if kind.encoded == NESTED_SIGNATURE:
            found += [cms.read_signed_data(value.encoded) for value in values.expect(der.SET).children()]
    return found


def _content_digest(hash_name: str, content: bytes) -> bytes:
    """Digest of the content without its tag and length, as PKCS #7 has it for content that is no OCTET STRING."""
    return hashlib.new(hash_name, der.read(content).content).digest()
