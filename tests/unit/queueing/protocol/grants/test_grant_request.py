"""Requests for grants: the proof binds token, tenant, keys and audience to the ephemeral key; nothing is read twice."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from queueing.errors import GrantMalformed, GrantRefused, ResultInvalid
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.grants import grant_request as grant_request_module
from queueing.protocol.grants.grant_request import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    MAX_TOKEN_CHARACTERS,
    GrantDenied,
    GrantError,
    GrantIssued,
    GrantRequest,
    encode_json,
    make_request,
    read_answer,
    read_request,
)

KEY = ClientKey.generate()


def raw(key: ClientKey) -> bytes:
    return load_der_public_key(key.public_spki).public_bytes_raw()  # type: ignore[union-attr]


def request(**changes: Any) -> GrantRequest:
    return make_request(
        **{
            "token": "head.claims.signature",
            "public_key": raw(KEY),
            "signer": KEY,
            "audience": "prod/eu",
            "tenant": "acme",
            "keys": ("release",),
            **changes,
        }
    )


def document(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode_json(request()))
    return {**fields, **changes}


def test_a_request_comes_as_it_was_made() -> None:
    """As JSON with base64; its proof holds for the cluster that it was made for."""
    read = read_request(encode_json(request()))
    assert read == request()
    read.check_proof("prod/eu")
    assert read.evidence_sha256 == hashlib.sha256(b"head.claims.signature").digest()
    assert document() == {
        "token": "head.claims.signature",
        "public_key": base64.b64encode(raw(KEY)).decode(),
        "proof": base64.b64encode(request().proof).decode(),
        "tenant": "acme",
        "keys": ["release"],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "head.claims.signaturf"},
        {"token": ""},
        {"tenant": "acmf"},
        {"keys": ("release", "root")},
        {"keys": ()},
        {"public_key": raw(ClientKey.generate())},
        {"public_key": b"\x00" * 32},
        {"proof": b"\x00" * 64},
    ],
    ids=lambda changes: str(next(iter(changes))),
)
def test_a_proof_holds_for_no_other_request(changes: dict[str, Any]) -> None:
    """A reader of the token cannot put in another key, another tenant or further keys."""
    with pytest.raises(GrantRefused):
        msgspec.structs.replace(request(), **changes).check_proof("prod/eu")


def test_a_proof_holds_for_no_other_cluster() -> None:
    """The answer says where to look: the commonest cause is a wrong client.toml."""
    with pytest.raises(GrantRefused) as caught:
        request().check_proof("prod/us")
    assert "audience" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe{}",
        b"[" * 30_000,
        b"{" + b'"a":{' * 5_000,
        json.dumps(document(extra=1)).encode(),
        json.dumps(document(token="a b")).encode(),
        json.dumps(document(token="tökèn")).encode(),
        json.dumps(document(token="line\n")).encode(),
        json.dumps(document(token="t" * (MAX_TOKEN_CHARACTERS + 1))).encode(),
        json.dumps(document(token=7)).encode(),
        json.dumps(document(public_key="AAAA")).encode(),
        json.dumps(document(public_key="not base64")).encode(),
        json.dumps(document(proof=document()["public_key"])).encode(),
        json.dumps(document(tenant="Acme")).encode(),
        json.dumps(document(keys="release")).encode(),
        json.dumps(document(keys=["a"] * 33)).encode(),
        json.dumps(document(keys=[{}])).encode(),
        json.dumps(document()).encode() + b"{}",
        json.dumps(document()).encode()[:-1] + b', "tenant": "acme"}',
        json.dumps(document()).encode()[:-1] + b', "t\\u0065nant": "acme"}',
    ],
)  # fmt: skip
def test_what_is_no_request_is_malformed(body: bytes) -> None:
    """A field twice as well, however it is written: two readers would take different ones."""
    with pytest.raises(GrantMalformed) as caught:
        read_request(body)
    assert "acme" not in str(caught.value)


def test_a_long_request_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the largest size is read."""
    body = encode_json(request(token="t" * MAX_TOKEN_CHARACTERS))
    assert len(body) <= MAX_REQUEST_BYTES
    read_request(body)
    monkeypatch.setattr(grant_request_module, "MAX_REQUEST_BYTES", len(body) - 1)
    with pytest.raises(GrantMalformed, match="at most"):
        read_request(body)


def test_answers_come_as_they_were_given() -> None:
    """A grant by 200, an error by any other status; fields of later versions are ignored."""
    issued = GrantIssued(grant=b"grant", expires_ms=5)
    assert read_answer(200, encode_json(issued)) == issued
    denied = GrantError(code="identity.refused", message="claim `ref`", hint="ask")
    assert read_answer(403, encode_json(GrantDenied(error=denied))) == denied
    assert read_answer(200, b'{"grant":"Z3JhbnQ=","expires_ms":5,"more":1}') == issued
    assert read_answer(503, b'{"error":{"code":"a.b","message":"","retry":1}}') == GrantError(
        code="a.b", message=""
    )


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b""),
        (200, b"<html>"),
        (200, b'{"error":{"code":"a","message":"b"}}'),
        (200, b'{"grant":"","expires_ms":5}'),
        (200, b'{"grant":"' + b"A" * 6000 + b'","expires_ms":5}'),
        (200, b'{"grant":"Z3JhbnQ=","expires_ms":1.5}'),
        (403, b'{"grant":"Z3JhbnQ=","expires_ms":5}'),
        (502, b"Bad Gateway"),
        (500, b"[" * 30_000),
        (200, b"x" * (MAX_ANSWER_BYTES + 1)),
    ],
)
def test_what_is_no_answer_of_an_issuer_is_invalid(status: int, body: bytes) -> None:
    """Such as the page of a proxy on the way."""
    with pytest.raises(ResultInvalid):
        read_answer(status, body)
