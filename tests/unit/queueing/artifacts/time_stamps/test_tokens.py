"""A time-stamp is believed only if it answers the request, and its signature and certificates hold."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from queueing.artifacts import cms
from queueing.artifacts.time_stamps import tokens
from queueing.artifacts.time_stamps.signing_certificate import SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2
from queueing.artifacts.time_stamps.tokens import TimeStampInvalid, TimeStampRequest
from queueing.protocol import der
from queueing.protocol.algorithms import Algorithm
from tests.support.artifacts.local_signer import LocalSigner
from tests.support.time_stamps import TimeStampAuthority

REQUEST = TimeStampRequest(hash_name="sha256", imprint=hashlib.sha256(b"signature").digest(), nonce=1 << 62)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeStampAuthority:
    return TimeStampAuthority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def answer(authority: TimeStampAuthority) -> bytes:
    return authority.answer(REQUEST.encoded())


def test_a_time_stamp_has_the_time_and_the_token(answer: bytes) -> None:
    """The token is what is put into the file; the time is UTC."""
    stamp = REQUEST.opened(answer)
    assert abs(datetime.now(UTC) - stamp.at) < timedelta(hours=1)
    assert stamp.token in answer
    assert der.read(stamp.token).tag == der.SEQUENCE


@pytest.mark.parametrize("hash_name", ["sha384", "sha512"])
def test_a_time_stamp_may_be_over_another_hash(authority: TimeStampAuthority, hash_name: str) -> None:
    """All hashes that the keys use are possible."""
    imprint = hashlib.new(hash_name, b"signature").digest()
    request = TimeStampRequest(hash_name=hash_name, imprint=imprint, nonce=7)
    assert request.opened(authority.answer(request.encoded())).token


@pytest.mark.parametrize(
    "request_, words",
    [
        (TimeStampRequest(hash_name="sha256", imprint=bytes(32), nonce=1 << 62), "other data"),
        (TimeStampRequest(hash_name="sha256", imprint=REQUEST.imprint, nonce=5), "nonce"),
    ],
)
def test_the_answer_to_another_request_is_refused(
    answer: bytes, request_: TimeStampRequest, words: str
) -> None:
    """A server, or a proxy's cache, may send an old one."""
    with pytest.raises(TimeStampInvalid, match=words):
        request_.opened(answer)


def test_a_refusal_is_told_in_the_authoritys_words(authority: TimeStampAuthority) -> None:
    """With the status before them."""
    refused = authority.answer(REQUEST.encoded()[:-4] + b"\x01\x01\xff\x00")
    with pytest.raises(TimeStampInvalid, match=r"refuses \(status 2\): Bad request format"):
        REQUEST.opened(refused)


def test_no_changed_byte_is_believed(answer: bytes) -> None:
    """In the token or around it: the answer is refused, or its time is the same."""
    good = REQUEST.opened(answer)
    for at in range(0, len(answer), 7):
        changed = answer[:at] + bytes([answer[at] ^ 0x41]) + answer[at + 1 :]
        try:
            stamp = REQUEST.opened(changed)
        except TimeStampInvalid:
            continue
        # What is left over is in certificates' own signatures and in unsigned fields that no verifier reads.
        assert stamp.at == good.at


def test_a_false_signature_is_refused(answer: bytes) -> None:
    """Everything else in the token may be right."""
    signature = cms.read_signed_data(REQUEST.opened(answer).token).signature
    false = bytes([*signature[:-1], signature[-1] ^ 1])
    with pytest.raises(TimeStampInvalid, match="does not verify"):
        REQUEST.opened(answer.replace(signature, false))


@pytest.mark.parametrize("raw", [b"", b"<html>", b"\x30\x00", b"\x30\x03\x02\x01\x00", b"\x30\x80\x00\x00"])
def test_what_is_no_answer_is_refused(raw: bytes) -> None:
    """Pages of errors, empty bodies, other structures."""
    with pytest.raises(TimeStampInvalid):
        REQUEST.opened(raw)


def test_a_cut_answer_is_refused(answer: bytes) -> None:
    """At places all over it."""
    for size in range(0, len(answer), 53):
        with pytest.raises(TimeStampInvalid):
            REQUEST.opened(answer[:size])


TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")


def signing_certificate(key: LocalSigner) -> bytes:
    """The attribute SigningCertificateV2 that names the key's certificate."""
    reference = der.sequence(der.octets(hashlib.sha256(key.certificates[0]).digest()))
    return cms.attribute(SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(reference)))


def made_up(key: LocalSigner, *, at: datetime, more: tuple[bytes, ...] | None = None) -> bytes:
    """An answer by a key of the test's own, whose certificate is not for time-stamps."""
    more = (signing_certificate(key),) if more is None else more
    imprint = der.sequence(cms.digest_algorithm("sha256"), der.octets(REQUEST.imprint))
    time = der.tagged(der.GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").encode())
    policy = der.oid("1.2.3.4")
    info = der.sequence(der.integer(1), policy, imprint, der.integer(1), time, der.integer(REQUEST.nonce))
    unsigned = cms.Unsigned.of(
        key.signer, hashlib.sha256(info).digest(), content_type=TST_INFO, content=der.octets(info), more=more
    )
    token = unsigned.assemble(key.sign(unsigned.digest))
    return der.sequence(der.sequence(der.integer(0)), token)


def test_many_certificates_are_refused_unread() -> None:
    """They are compared with each other, on the loop that all files share: a thousand would stop it for minutes."""
    key = LocalSigner.p256()
    many = replace(key.signer, certificates=(*key.signer.certificates, *[der.sequence()] * 20))
    token = cms.Unsigned.of(many, bytes(32), content_type=TST_INFO).assemble(b"signature")
    with pytest.raises(TimeStampInvalid, match="21 certificates"):
        tokens._check_signature(cms.read_signed_data(token), datetime.now(UTC))


@pytest.mark.parametrize(
    "key", [LocalSigner.p256(), LocalSigner.rsa(), LocalSigner.rsa(Algorithm.RSASSA_PSS_SHA_256)]
)
def test_a_certificate_for_other_purposes_is_refused(key: LocalSigner) -> None:
    """RFC 3161 2.3: its extended key usage is timeStamping; its signature is good by each scheme."""
    with pytest.raises(TimeStampInvalid, match="not for time-stamps"):
        REQUEST.opened(made_up(key, at=datetime.now(UTC)))


@pytest.mark.parametrize("reference", ["sha1", "sha384", "sha512"])
def test_each_form_of_the_reference_to_the_certificate_is_taken(tmp_path: Path, reference: str) -> None:
    """The first version by SHA-1 (RFC 3161), the second by a hash that it names (RFC 5816)."""
    answer = TimeStampAuthority(tmp_path, reference=reference).answer(REQUEST.encoded())
    kind = SIGNING_CERTIFICATE if reference == "sha1" else SIGNING_CERTIFICATE_V2
    assert kind in answer
    assert REQUEST.opened(answer).token


def test_a_time_stamp_without_a_reference_to_its_certificate_is_refused() -> None:
    """RFC 3161 2.4.2 demands it: the certificate beside the signature could be another one of the same key."""
    with pytest.raises(TimeStampInvalid, match="does not say by which certificate"):
        REQUEST.opened(made_up(LocalSigner.p256(), at=datetime.now(UTC), more=()))


def references(key: LocalSigner, other: LocalSigner) -> dict[str, tuple[bytes, ...]]:
    """References that are not, or not only, to the key's certificate."""
    leaf = x509.load_der_x509_certificate(key.certificates[0])
    digest = hashlib.sha256(key.certificates[0]).digest()
    sha1 = hashlib.sha1(key.certificates[0], usedforsecurity=False).digest()
    issuer = der.sequence(der.context(4, leaf.issuer.public_bytes()))

    def attribute(*fields: bytes, kind: bytes = SIGNING_CERTIFICATE_V2) -> bytes:
        return cms.attribute(kind, der.sequence(der.sequence(der.sequence(*fields))))

    return {
        "another certificate": (signing_certificate(other),),
        "another one by the first version": (
            signing_certificate(key),
            attribute(der.octets(bytes(20)), kind=SIGNING_CERTIFICATE),
        ),
        "another one by the second version": (
            signing_certificate(other),
            attribute(der.octets(sha1), kind=SIGNING_CERTIFICATE),
        ),
        "another serial number": (attribute(der.octets(digest), der.sequence(issuer, der.integer(1))),),
        "another issuer": (
            attribute(
                der.octets(digest),
                der.sequence(
                    der.sequence(der.context(4, leaf.subject.public_bytes())), der.integer(leaf.serial_number)
                ),
            ),
        ),
        "no issuer": (
            attribute(der.octets(digest), der.sequence(der.sequence(), der.integer(leaf.serial_number))),
        ),
        "an unknown hash": (attribute(der.sequence(der.oid("1.2.3")), der.octets(digest)),),
        "a hash alone": (attribute(cms.digest_algorithm("sha256")),),
    }


@pytest.mark.parametrize("name", references(LocalSigner.p256(), LocalSigner.p256()))
def test_a_time_stamp_that_names_another_certificate_is_refused(name: str) -> None:
    """Each attribute that is there must name the signer's, and where it has issuer and serial number those count too."""
    key, other = LocalSigner.p256(), LocalSigner.p256()
    with pytest.raises(TimeStampInvalid, match="names another certificate"):
        REQUEST.opened(made_up(key, at=datetime.now(UTC), more=references(key, other)[name]))


@pytest.mark.parametrize("value", [der.sequence(), der.sequence(der.sequence()), der.octets(b"x")])
def test_a_reference_that_cannot_be_read_is_refused(value: bytes) -> None:
    """As an answer that is no time-stamp."""
    more = (cms.attribute(SIGNING_CERTIFICATE_V2, value),)
    with pytest.raises(TimeStampInvalid, match=r"no time-stamp of RFC 3161"):
        REQUEST.opened(made_up(LocalSigner.p256(), at=datetime.now(UTC), more=more))


def test_a_certificate_that_was_not_valid_then_is_refused(
    authority: TimeStampAuthority, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verifiers would refuse the file."""
    late = datetime.now(UTC) + timedelta(days=400)
    monkeypatch.setattr(TimeStampRequest, "_time_of", lambda *_: late)
    with pytest.raises(TimeStampInvalid, match="not valid at the time"):
        REQUEST.opened(answer)
