"""A statement holds together: its request is the key's, and has the same statement inside; evidence speaks of the key."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import rsa_key, spki_of
from workers.pki.names import parse_subject
from workers.pki.origin import (
    Origin,
    OriginInvalid,
    OriginModule,
    OriginStatement,
    OriginToken,
    read_origin,
    speaks_of,
)
from workers.pki.requests import RequestContent, assemble, request_pem

KEY, OTHER = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()


def public(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> PublicKey:
    return PublicKey.from_spki(spki_of(key))


def statement(key: ed25519.Ed25519PrivateKey = KEY) -> OriginStatement:
    return OriginStatement(
        v=1,
        audience="prod/eu-west", tenant="acme", key="release", version=1, kind=KeyKind.ED25519,
        public_key_sha256=public(key).sha256.hex(), how="generated", mechanism="CKM_EC_EDWARDS_KEY_PAIR_GEN",
        token=OriginToken(label="acme", serial="1", manufacturer="m", model="x", hardware="1.0", firmware="2.6"),
        module=OriginModule(path="/m.so", description="d", library="2.6", cryptoki="2.40", sha256="00" * 32),
        attributes={"CKA_LOCAL": True}, witnesses=("Ada",), vendor_evidence=(), build="sigmill 0.1.0",
        at=datetime(2026, 11, 27, 12, tzinfo=UTC),
    )  # fmt: skip


def request(key: ed25519.Ed25519PrivateKey, said: OriginStatement) -> str:
    content = RequestContent(
        subject=parse_subject("CN=a"), public_key=public(key), attestation=said.attestation()
    )
    return request_pem(assemble(content, key.sign(content.to_be_signed())))


def test_a_statement_with_its_request_holds() -> None:
    """Also after it was read back; a statement without a request too."""
    for origin in (Origin.of(statement(), request(KEY, statement())), Origin.of(statement(), None)):
        read_origin(origin.encode()).check()


def test_the_time_of_a_generation_is_in_the_statement_alone_where_it_is_known() -> None:
    """The statement of a key that was found has no such field, so that earlier statements are still the ones in their requests."""
    assert "generated_at" not in json.loads(statement().json())
    at = datetime(2026, 11, 26, tzinfo=UTC)
    made = msgspec.structs.replace(statement(), generated_at=at)
    assert read_origin(Origin.of(made, None).encode()).statement.generated_at == at


@pytest.mark.parametrize("field, value", [("serial", "2"), ("firmware", "9.9")])
def test_a_changed_attribute_is_noticed_by_the_request(field: str, value: str) -> None:
    """Even if the service key signed the changed statement: the key itself has signed the other one."""
    origin = json.loads(Origin.of(statement(), request(KEY, statement())).encode())
    origin["statement"]["token"][field] = value

    with pytest.raises(OriginInvalid, match="another statement inside"):
        read_origin(json.dumps(origin).encode()).check()


def test_a_request_of_another_key_is_noticed() -> None:
    """A statement is about the key of its request."""
    with pytest.raises(OriginInvalid, match="another key"):
        Origin.of(statement(), request(OTHER, statement())).check()
    origin = msgspec.structs.replace(
        Origin.of(statement(), request(KEY, statement())), request_sha256="0" * 64
    )
    with pytest.raises(OriginInvalid, match="SHA-256"):
        origin.check()


def test_a_request_that_its_key_did_not_sign_is_noticed() -> None:
    """Everybody who knows the public key can put it into a request, with any statement inside."""
    raw = x509.load_pem_x509_csr(request(KEY, statement()).encode()).public_bytes(Encoding.DER)
    forged = x509.load_der_x509_csr(raw[:-64] + OTHER.sign(b"anything")).public_bytes(Encoding.PEM).decode()
    with pytest.raises(OriginInvalid, match="not signed by its key"):
        Origin.of(statement(), forged).check()


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"statement": 1}'])
def test_other_content_is_refused(raw: bytes) -> None:
    """Each is ``OriginInvalid``."""
    with pytest.raises(OriginInvalid):
        read_origin(raw)


KINDS = [KEY, ec.generate_private_key(ec.SECP384R1()), rsa_key(bits=3072)]


@pytest.mark.parametrize("key", KINDS, ids=["ed25519", "p384", "rsa"])
@pytest.mark.parametrize(
    "form", ["der", "pem", "hex", "colons", "json", "url-safe", "after-1", "after-2", "after-3"]
)
def test_evidence_speaks_of_a_key_in_any_encoding(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: str
) -> None:
    """Vendors print DER, PEM, hex and JSON, also right after a word; of another key it does not speak."""
    spki = public(key).spki
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    evidence = {
        "der": b"\x30\x82" + spki + b"...",
        "pem": b"attestation follows\n" + pem.encode(),
        "hex": b"pubkey=" + spki.hex().upper().encode(),
        "colons": b"Modulus:\n    " + spki.hex(":").encode(),
        "json": json.dumps({"chain": pem}).encode(),
        **{f"after-{n}": b"x" * n + base64.b64encode(spki) for n in (1, 2, 3)},
        "url-safe": b'{"x5c": "' + base64.urlsafe_b64encode(b"ab" + spki) + b'"}',
    }[form]

    assert speaks_of(evidence, public(key))
    assert not speaks_of(evidence, public(OTHER))
