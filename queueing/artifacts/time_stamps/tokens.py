"""Time-stamps (RFC 3161): the request for one, and the check of the token in the answer before it is put into a file.

Checked are the imprint, the nonce, the signature of the token, its reference to the signer's certificate and the certificates in
it, as far as they go. Whether the authority is trusted is for the verifiers of the file to say: their roots are not here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from queueing.artifacts import cms
from queueing.artifacts.time_stamps.signing_certificate import signer_problem
from queueing.protocol import der
from queueing.protocol.algorithms import HASH_OIDS
from queueing.protocol.certificates import UNREADABLE, read_certificate

LARGEST_ANSWER_BYTES: Final = 256 << 10
"""A token with its certificates has 3 to 10 KiB."""

_MOST_CERTIFICATES: Final = 20
"""A chain has three or four; each is compared with each."""

_TST_INFO: Final = der.oid("1.2.840.113549.1.9.16.1.4")
_PSS: Final = der.oid("1.2.840.113549.1.1.10")
_GRANTED: Final = frozenset({0, 1})  # granted, grantedWithMods
_HASHES: Final[dict[bytes, tuple[str, hashes.HashAlgorithm]]] = {
    der.oid(HASH_OIDS["sha256"]): ("sha256", hashes.SHA256()),
    der.oid(HASH_OIDS["sha384"]): ("sha384", hashes.SHA384()),
    der.oid(HASH_OIDS["sha512"]): ("sha512", hashes.SHA512()),
}


class TimeStampInvalid(ValueError):
    """An answer without a valid token; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStamp:
    """A verified TimeStampToken in DER, and the time in it."""

    token: bytes
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStampRequest:
    """Request for a time-stamp over data with this digest; ``nonce`` is random, of 64 bits."""

    hash_name: str
    imprint: bytes
    nonce: int

    def encoded(self) -> bytes:
        """TimeStampReq in DER, which asks for the authority's certificates."""
        imprint = der.sequence(cms.digest_algorithm(self.hash_name), der.octets(self.imprint))
        return der.sequence(der.integer(1), imprint, der.integer(self.nonce), der.boolean(value=True))

    def opened(self, answer: bytes) -> TimeStamp:
        """The time-stamp in an answer (TimeStampResp). Raises ``TimeStampInvalid``."""
        try:
            token = _granted(answer)
            signed = cms.read_signed_data(token)
            at = self._time_of(signed)
            _check_signature(signed, at)
        except der.DerInvalid as error:
            raise TimeStampInvalid(f"the answer is no time-stamp of RFC 3161 ({error})") from None
        except UNREADABLE as error:
            if isinstance(error, TimeStampInvalid):
                raise
            raise TimeStampInvalid("a certificate in the time-stamp cannot be read") from None
        return TimeStamp(token=token, at=at)

    def _time_of(self, signed: cms.SignedData) -> datetime:
        if signed.content_type != _TST_INFO or signed.content is None:
            raise der.DerInvalid("no TSTInfo")
        info = list(der.read(_content(signed)).expect(der.SEQUENCE).children())
        if len(info) < 5:
            raise der.DerInvalid("fields of TSTInfo are missing")
        algorithm, imprint = info[2].fields(der.SEQUENCE, 2)
        hash_oid = next(algorithm.expect(der.SEQUENCE).children(), None)
        expected = (der.oid(HASH_OIDS[self.hash_name]), der.octets(self.imprint))
        if hash_oid is None or (hash_oid.encoded, imprint.encoded) != expected:
            raise TimeStampInvalid("the time-stamp is over other data than was sent")
        if der.integer(self.nonce) not in {each.encoded for each in info[5:]}:
            raise TimeStampInvalid("the time-stamp is the answer to another request: its nonce differs")
        return _time(info[4].expect(der.GENERALIZED_TIME).content)


def _granted(answer: bytes) -> bytes:
    """TimeStampToken of a TimeStampResp."""
    status, *token = der.read_first(answer).fields_or_more(der.SEQUENCE, 1)
    code, *reasons = status.fields_or_more(der.SEQUENCE, 1)
    number = int.from_bytes(code.expect(der.INTEGER).content, "big")
    if number not in _GRANTED or len(token) != 1:
        words = b"; ".join(
            text.content for each in reasons if each.tag == der.SEQUENCE for text in each.children()
        )
        told = f": {words.decode('utf-8', 'replace')[:200]}" if words else ""
        raise TimeStampInvalid(f"the authority refuses (status {number}){told}")
    return token[0].encoded


def _content(signed: cms.SignedData) -> bytes:
    """Bytes of TSTInfo in DER, which is inside an OCTET STRING."""
    assert signed.content is not None
    return der.read(signed.content).expect(der.OCTET_STRING).content


def _time(text: bytes) -> datetime:
    """GeneralizedTime, perhaps with fractions of a second, which are cut."""
    try:
        return datetime.strptime(text.decode("ascii").rstrip("Z").partition(".")[0], "%Y%m%d%H%M%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        raise der.DerInvalid("an impossible time") from None


def _check_signature(signed: cms.SignedData, at: datetime) -> None:
    if len(signed.certificates) > _MOST_CERTIFICATES:
        raise TimeStampInvalid(f"the time-stamp has {len(signed.certificates)} certificates")
    certificates = [read_certificate(each) for each in signed.certificates]
    leaf = next((each for each in certificates if _names(signed, each)), None)
    if leaf is None:
        raise TimeStampInvalid("the time-stamp does not contain its signer's certificate")
    digest_oid = next(der.read(signed.signer[2]).expect(der.SEQUENCE).children(), None)
    found = None if digest_oid is None else _HASHES.get(digest_oid.encoded)
    if found is None:
        raise TimeStampInvalid("the time-stamp is signed with a hash that is not SHA-256, SHA-384 or SHA-512")
    name, algorithm = found
    digest = hashlib.new(name, _content(signed)).digest()
    if (
        signed.attribute(cms.MESSAGE_DIGEST) != der.octets(digest)
        or signed.attribute(cms.CONTENT_TYPE) != _TST_INFO
    ):
        raise TimeStampInvalid("the signature of the time-stamp is over other content")
    try:
        _verify(leaf, signed, algorithm)
    except InvalidSignature:
        raise TimeStampInvalid("the signature of the time-stamp does not verify") from None
    problem = signer_problem(signed, leaf)
    if problem is not None:
        raise TimeStampInvalid(problem)
    _check_usage(leaf, at)
    _check_chain(leaf, certificates)


def _names(signed: cms.SignedData, certificate: x509.Certificate) -> bool:
    """Whether the SignerIdentifier names this certificate, by issuer and serial number or by its key identifier."""
    issuer, serial = certificate.issuer.public_bytes(), der.integer(certificate.serial_number)
    if signed.identifier == der.sequence(issuer, serial):
        return True
    try:
        key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return signed.identifier == der.context(0, key_id, constructed=False)


def _verify(leaf: x509.Certificate, signed: cms.SignedData, algorithm: hashes.HashAlgorithm) -> None:
    key, scheme = leaf.public_key(), next(der.read(signed.signer[4]).children(), None)
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
        pad = pss if scheme is not None and scheme.encoded == _PSS else padding.PKCS1v15()
        key.verify(signed.signature, signed.attributes, pad, algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signed.signature, signed.attributes, ec.ECDSA(algorithm))
    else:
        raise TimeStampInvalid("the time-stamp's key is neither RSA nor EC")


def _check_usage(leaf: x509.Certificate, at: datetime) -> None:
    """Raise ``TimeStampInvalid`` unless the certificate is for time-stamps (RFC 3161 2.3) and was valid then."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    if ExtendedKeyUsageOID.TIME_STAMPING not in usage:
        raise TimeStampInvalid("the signer's certificate is not for time-stamps")
    if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
        raise TimeStampInvalid("the signer's certificate was not valid at the time in the time-stamp")


def _check_chain(leaf: x509.Certificate, certificates: list[x509.Certificate]) -> None:
    """Raise ``TimeStampInvalid`` if a certificate is not signed by the issuer that the token has for it."""
    current = leaf
    for _ in certificates:
        issuer = next(
            (each for each in certificates if each.subject == current.issuer and each != current), None
        )
        if issuer is None:
            return
        try:
            current.verify_directly_issued_by(issuer)
        except InvalidSignature:
            raise TimeStampInvalid("a certificate in the time-stamp is not signed by its issuer") from None
        current = issuer
