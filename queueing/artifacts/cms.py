"""CMS SignedData (RFC 5652) by one signer: making it around a signature from elsewhere, and reading what others made.

The digest that a key signs is that of the signed attributes (5.4). No signing time is among them: a repeated run over the
same file then asks for the signature that the first one got, and a time-stamp says the time better.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.errors import AlgorithmMismatch, SigningError
from queueing.protocol import der
from queueing.protocol.algorithms import FACTS, HASH_OIDS, Algorithm, Scheme
from queueing.protocol.certificates import UNREADABLE, read_certificate
from queueing.protocol.public_keys import PublicKey

SIGNED_DATA: Final = der.oid("1.2.840.113549.1.7.2")
DATA: Final = der.oid("1.2.840.113549.1.7.1")
CONTENT_TYPE: Final = der.oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST: Final = der.oid("1.2.840.113549.1.9.4")
TIME_STAMP: Final = der.oid("1.2.840.113549.1.9.16.2.14")
"""id-aa-timeStampToken (RFC 3161, appendix A)."""

CONTEXT_0: Final = 0xA0
CONTEXT_1: Final = 0xA1

_RSA: Final = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.null())
"""rsaEncryption: what every verifier of CMS takes for PKCS #1 v1.5 (RFC 5754 3.2)."""


def attribute(kind: bytes, value: bytes) -> bytes:
    """Attribute with one value, in DER; ``kind`` is an OID in DER."""
    return der.sequence(kind, der.set_of([value]))


def digest_algorithm(hash_name: str) -> bytes:
    """AlgorithmIdentifier of a hash with NULL, as Authenticode's own tools write it; CMS takes both forms (RFC 5754 2)."""
    return der.sequence(der.oid(HASH_OIDS[hash_name]), der.null())


def signature_algorithm(algorithm: Algorithm) -> bytes:
    """AlgorithmIdentifier in a SignerInfo; ``AlgorithmMismatch`` (final) for Ed25519, which signs no digest (RFC 8419)."""
    facts = FACTS[algorithm]
    if facts.scheme is Scheme.PKCS1V15:
        return _RSA
    if facts.scheme is Scheme.PSS and facts.hash_name is not None:
        return _pss(facts.signature_oid, facts.hash_name)
    if facts.scheme is Scheme.ECDSA:
        return der.sequence(der.oid(facts.signature_oid))  # RFC 5758 3.2: without parameters
    whole = "signs whole messages in CMS, and Sigmill signs digests"
    raise AlgorithmMismatch(
        f"{algorithm} {whole if facts.scheme is Scheme.EDDSA else 'has no form in CMS here'}",
        hint="Sign with an RSA or EC key, or sign the file's digest with --format raw.",
    )


def _pss(oid: str, hash_name: str) -> bytes:
    """RSASSA-PSS-params (RFC 4055 3.1): MGF1 with the same hash, a salt as long as the hash."""
    hashed = digest_algorithm(hash_name)
    mask = der.sequence(der.oid("1.2.840.113549.1.1.8"), hashed)
    salt = der.integer(hashlib.new(hash_name).digest_size)
    parameters = der.sequence(der.context(0, hashed), der.context(1, mask), der.context(2, salt))
    return der.sequence(der.oid(oid), parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key with the certificate that names it. ``certificates``: DER, its own first, without a root; none for raw signatures."""

    algorithm: Algorithm
    hash_name: str
    public_key: PublicKey
    certificates: tuple[bytes, ...]
    identifier: bytes
    """IssuerAndSerialNumber in DER."""

    @classmethod
    def bare(cls, public_key: PublicKey, algorithm: Algorithm) -> Self:
        """A key without a certificate, for raw signatures. Ed25519 signs a SHA-256 digest, as `sigmill sign` has it."""
        hash_name = FACTS[algorithm].hash_name or "sha256"
        return cls(
            algorithm=algorithm, hash_name=hash_name, public_key=public_key, certificates=(), identifier=b""
        )

    @classmethod
    def of(cls, certificates: tuple[bytes, ...], algorithm: Algorithm) -> Self:
        """Make the signer of a chain, its own certificate first.

        Raises ``AlgorithmMismatch`` for an algorithm that CMS cannot have, ``ValueError`` for what is no certificate.
        """
        signature_algorithm(algorithm)
        try:
            chain = [read_certificate(each) for each in certificates]
            leaf = chain[0]
            spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            roots = {i for i, each in enumerate(chain) if i and each.issuer == each.subject}
        except UNREADABLE as error:
            raise ValueError(f"a certificate cannot be read: {error}") from error
        return cls(
            algorithm=algorithm,
            hash_name=FACTS[algorithm].hash_name or "",
            public_key=PublicKey.from_spki(spki),
            certificates=tuple(each for i, each in enumerate(certificates) if i not in roots),
            identifier=der.sequence(leaf.issuer.public_bytes(), der.integer(leaf.serial_number)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """SignedData before its signature. ``content``: DER inside the eContent, None where it is detached."""

    signer: Signer
    content_type: bytes
    content: bytes | None
    attributes: bytes
    """SET OF Attribute in DER: the bytes whose digest the key signs."""

    @classmethod
    def of(
        cls,
        signer: Signer,
        message_digest: bytes,
        *,
        content_type: bytes = DATA,
        content: bytes | None = None,
        more: tuple[bytes, ...] = (),
    ) -> Self:
        """Make it of the content's digest; ``more``: further signed attributes."""
        fixed = (
            attribute(CONTENT_TYPE, content_type),
            attribute(MESSAGE_DIGEST, der.octets(message_digest)),
        )
        return cls(
            signer=signer, content_type=content_type, content=content, attributes=der.set_of((*fixed, *more))
        )

    @property
    def digest(self) -> bytes:
        """Digest that the key signs."""
        return hashlib.new(self.signer.hash_name, self.attributes).digest()

    def assemble(self, signature: bytes, unsigned_attributes: tuple[bytes, ...] = ()) -> bytes:
        """The whole ContentInfo in DER."""
        signer = self.signer
        digests = digest_algorithm(signer.hash_name)
        fields = [
            der.integer(1),
            signer.identifier,
            digests,
            der.context(0, der.read(self.attributes).content),
            signature_algorithm(signer.algorithm),
            der.octets(signature),
        ]
        if unsigned_attributes:
            fields.append(der.context(1, *sorted(unsigned_attributes)))
        content = () if self.content is None else (der.context(0, self.content),)
        signed = der.sequence(
            der.integer(1),
            der.set_of([digests]),
            der.sequence(self.content_type, *content),
            der.context(0, *sorted(signer.certificates)),
            der.set_of([der.sequence(*fields)]),
        )
        return der.sequence(SIGNED_DATA, der.context(0, signed))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedData:
    """SignedData with one signer, as read; nothing in it is verified. Values are DER."""

    before: tuple[bytes, ...]
    """Fields of the SignedData before the signers: version, digest algorithms, content, certificates."""

    content_type: bytes
    content: bytes | None
    certificates: tuple[bytes, ...]
    signer: tuple[bytes, ...]
    """The six fields of the SignerInfo before its unsigned attributes."""

    unsigned_attributes: tuple[bytes, ...]

    @property
    def identifier(self) -> bytes:
        """IssuerAndSerialNumber of the signer, or its other form."""
        return self.signer[1]

    @property
    def attributes(self) -> bytes:
        """SET OF signed attributes."""
        return der.tagged(der.SET, der.read(self.signer[3]).content)

    @property
    def signature(self) -> bytes:
        """The signature's bytes."""
        return der.read(self.signer[5]).content

    def attribute(self, kind: bytes) -> bytes | None:
        """The one value of a signed attribute, in DER. Raises ``DerInvalid``."""
        return _value_of(tuple(each.encoded for each in der.read(self.attributes).children()), kind)

    def unsigned_attribute(self, kind: bytes) -> bytes | None:
        """The one value of an unsigned attribute, in DER. Raises ``DerInvalid``."""
        return _value_of(self.unsigned_attributes, kind)

    def is_by(self, signer: Signer, message_digest: bytes) -> bool:
        """Whether this signer made it over content with this digest; never raises."""
        try:
            stated = self.attribute(MESSAGE_DIGEST)
            if self.identifier != signer.identifier or stated != der.octets(message_digest):
                return False
            digest = hashlib.new(signer.hash_name, self.attributes).digest()
            signer.public_key.verify(signer.algorithm, digest, self.signature)
        except (SigningError, der.DerInvalid):
            return False
        return True

    def replacing_unsigned(self, attributes: tuple[bytes, ...]) -> bytes:
        """The ContentInfo with these unsigned attributes instead of its own."""
        unsigned = der.context(1, *sorted(attributes))
        signed = der.sequence(*self.before, der.set_of([der.sequence(*self.signer, unsigned)]))
        return der.sequence(SIGNED_DATA, der.context(0, signed))


def read_signed_data(raw: bytes) -> SignedData:
    """Read a ContentInfo with SignedData of one signer; bytes behind it are padding. Raises ``DerInvalid``."""
    kind, wrapped = der.read_first(raw).fields(der.SEQUENCE, 2)
    if kind.encoded != SIGNED_DATA:
        raise der.DerInvalid("the content type is not SignedData")
    (signed,) = wrapped.fields(CONTEXT_0, 1)
    *before, signers = signed.fields_or_more(der.SEQUENCE, 4)
    (signer,) = signers.fields(der.SET, 1)
    content_type, *content = before[2].fields_or_more(der.SEQUENCE, 1)
    fields = list(signer.expect(der.SEQUENCE).children())
    if len(fields) not in {6, 7} or fields[3].tag != CONTEXT_0:
        raise der.DerInvalid("a signer without signed attributes")
    fields[5].expect(der.OCTET_STRING)
    unsigned = fields[6].expect(CONTEXT_1).children() if len(fields) == 7 else ()
    chain = [value for value in before[3:] if value.tag == CONTEXT_0]
    return SignedData(
        before=tuple(value.encoded for value in before),
        content_type=content_type.encoded,
        content=content[0].expect(CONTEXT_0).content if content else None,
        certificates=tuple(each.encoded for value in chain for each in value.children()),
        signer=tuple(value.encoded for value in fields[:6]),
        unsigned_attributes=tuple(value.encoded for value in unsigned),
    )


def _value_of(attributes: tuple[bytes, ...], kind: bytes) -> bytes | None:
    for each in attributes:
        found, values = der.read(each).fields(der.SEQUENCE, 2)
        if found.encoded == kind:
            (value,) = values.fields(der.SET, 1)
            return value.encoded
    return None
