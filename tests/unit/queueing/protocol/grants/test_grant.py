"""Grants: one encoding, one signature, and nothing cut or changed passes for another."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from queueing.errors import GrantMalformed, GrantRefused
from queueing.protocol.client_keys import ClientKey, ClientKeyKind, ClientPublicKey
from queueing.protocol.envelope import DOMAIN as ENVELOPE_DOMAIN
from queueing.protocol.grants import grant as grant_module
from queueing.protocol.grants.grant import (
    DOMAIN,
    MAX_GRANT_BYTES,
    Grant,
    client_of,
    encode_body,
    encode_sealed,
    read_grant,
    seal_grant,
    subject_of,
)
from queueing.protocol.names import NAME_PATTERN
from tests.support.damage.changed_bytes import prefixes, with_one_bit_flipped

ISSUER = ClientKey.generate()
TPM = ClientKey.generate(ClientKeyKind.P256)
PUBLIC = ClientPublicKey.from_spki(ISSUER.public_spki)


def grant(**changes: Any) -> Grant:
    return Grant(
        **{
            "audience": "prod/eu",
            "tenant": "acme",
            "issuer": "ci",
            "grant_id": bytes(range(16)),
            "subject": "repo:acme/app:ref:refs/heads/main",
            "evidence_sha256": b"e" * 32,
            "client_public_key": b"k" * 32,
            "keys": ("nightly", "release"),
            "algorithms": ("ECDSA_SHA_256",),
            "max_digests": 2000,
            "not_before_ms": 1_700_000_000_000,
            "expires_ms": 1_700_000_900_000,
            **changes,
        }
    )


SEALED = seal_grant(grant(), ISSUER)
BODY = encode_body(grant())


def accepted(sealed: bytes) -> Grant:
    """The grant in these bytes, verified as a lane verifies it."""
    return read_grant(sealed).verify(PUBLIC)


def forced(**changes: Any) -> bytes:
    """A grant that a faulty issuer has signed: nothing is checked before."""
    body = encode_body(grant(**changes))
    return msgspec.msgpack.encode([body, ISSUER.sign_envelope(DOMAIN + body)])


@pytest.mark.parametrize("key", [ISSUER, TPM], ids=["ed25519", "p256"])
def test_an_issuers_grant_is_read_as_it_was_signed(key: ClientKey) -> None:
    """With either kind of key."""
    public = ClientPublicKey.from_spki(key.public_spki)
    assert read_grant(seal_grant(grant(), key)).verify(public) == grant()


def test_a_grant_that_is_cut_at_any_byte_is_malformed() -> None:
    for cut in prefixes(SEALED):
        with pytest.raises(GrantMalformed):
            read_grant(cut)


def test_any_bit_changed_is_refused() -> None:
    """Anywhere: malformed, or a signature that is not the issuer's."""
    for damaged in with_one_bit_flipped(SEALED):
        with pytest.raises((GrantMalformed, GrantRefused)):
            accepted(damaged)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"audience": ""},
        {"audience": "a" * 129},
        {"tenant": "a{b}"},
        {"issuer": "Ci"},
        {"issuer": "i" * 31},
        {"grant_id": b"g" * 15},
        {"grant_id": b"g" * 17},
        {"subject": ""},
        {"subject": "s" * 513},
        {"subject": "two\nlines"},
        {"subject": "größe"},
        {"evidence_sha256": b"e" * 31},
        {"client_public_key": b"k" * 33},
        {"keys": ()},
        {"keys": ("../x",)},
        {"keys": ("release", "release")},
        {"keys": ("release", "nightly")},
        {"keys": tuple(f"k{i:02}" for i in range(33))},
        {"algorithms": ()},
        {"algorithms": ("ECDSA_SHA_256", "ECDSA_SHA_256")},
        {"algorithms": ("ecdsa",)},
        {"algorithms": tuple(f"A{i:02}" for i in range(17))},
        {"max_digests": 0},
        {"max_digests": 2**31 + 1},
        {"max_digests": True},
        {"not_before_ms": -1},
        {"expires_ms": 2**53 + 1},
        {"expires_ms": 1_700_000_000_000},
    ],
    ids=lambda changes: next(iter(changes)) + repr(next(iter(changes.values())))[:12],
)
def test_content_out_of_bounds_is_malformed(changes: dict[str, Any]) -> None:
    """Even with a true signature of the issuer; and an issuer of ours does not sign it."""
    with pytest.raises(GrantMalformed):
        read_grant(forced(**changes))
    with pytest.raises(ValueError, match="grant"):
        seal_grant(grant(**changes), ISSUER)


def test_the_largest_grant_has_the_size_of_the_envelopes_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of more bytes is neither given nor parsed, whatever is in it."""
    keys = tuple(f"k{i:02}" + "x" * 60 for i in range(32))
    algorithms = tuple(f"A{i:02}" + "X" * 61 for i in range(16))
    with pytest.raises(ValueError, match="at most 4096 are read"):
        seal_grant(grant(keys=keys, algorithms=algorithms, subject="s" * 512, audience="€" * 128), ISSUER)
    assert accepted(seal_grant(grant(keys=keys, subject="s" * 512), ISSUER)).keys == keys
    with pytest.raises(GrantMalformed, match="4097 bytes"):
        read_grant(SEALED + b"\x00" * (MAX_GRANT_BYTES + 1 - len(SEALED)))
    monkeypatch.setattr(grant_module, "MAX_GRANT_BYTES", len(SEALED))
    assert accepted(SEALED) == grant()
    monkeypatch.setattr(grant_module, "MAX_GRANT_BYTES", len(SEALED) - 1)
    with pytest.raises(GrantMalformed, match=f"{len(SEALED)} bytes"):
        read_grant(SEALED)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdc\x00\x0d" + BODY[1:],
        BODY[:1] + b"\xcc\x01" + BODY[2:],
        BODY.replace(b"\xa4acme", b"\xd9\x04acme"),
        BODY.replace(b"\xc4\x10", b"\xc5\x00\x10"),
        BODY.replace(b"\x92\xa7nightly", b"\xdc\x00\x02\xa7nightly"),
        BODY[:1] + b"\xcb" + b"\x3f\xf0" + b"\x00" * 6 + BODY[2:],
        BODY + b"\x00",
        msgspec.msgpack.encode([*msgspec.msgpack.decode(BODY), None]),
        msgspec.msgpack.encode(msgspec.msgpack.decode(BODY)[:12]),
    ],
    ids=[
        "array16",
        "uint8",
        "str8",
        "bin16",
        "list16",
        "float",
        "trailing",
        "further field",
        "field left out",
    ],
)
def test_a_second_encoding_of_a_grant_is_malformed(body: bytes) -> None:
    """Signed by the issuer, with the same content: it would be another entry of the cache."""
    assert body != BODY
    with pytest.raises(GrantMalformed):
        read_grant(msgspec.msgpack.encode([body, ISSUER.sign_envelope(DOMAIN + body)]))


def test_the_outer_form_is_canonical_too() -> None:
    """Length of the body in a wider form: other bytes for the same body and signature."""
    body_head = SEALED[1:3]
    assert body_head[0] == 0xC4
    wider = SEALED[:1] + b"\xc5\x00" + body_head[1:] + SEALED[3:]
    with pytest.raises(GrantMalformed, match="canonical"):
        read_grant(wider)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x80", b"\xc1", b"\x91" * 4096, b"\x92\xc4\x00\xc4\x00", b"x" * (MAX_GRANT_BYTES + 1)],
    ids=["empty", "map", "never", "brackets", "nothing in it", "huge"],
)
def test_other_bytes_are_malformed(raw: bytes) -> None:
    """Empty, of another kind, nested, or too many."""
    with pytest.raises(GrantMalformed):
        read_grant(raw)


@pytest.mark.parametrize("domain", [ENVELOPE_DOMAIN, b""], ids=["envelope", "none"])
def test_a_signature_over_something_else_is_none(domain: bytes) -> None:
    """A key that is both an issuer's and a client's does not give grants by signing envelopes."""
    with pytest.raises(GrantRefused):
        accepted(msgspec.msgpack.encode([BODY, ISSUER.sign_envelope(domain + BODY)]))


def test_another_issuers_signature_is_refused() -> None:
    """Also one that the same issuer made over another grant."""
    with pytest.raises(GrantRefused, match="not that of the issuer"):
        accepted(seal_grant(grant(), ClientKey.generate()))
    other = read_grant(seal_grant(grant(max_digests=2001), ISSUER))
    with pytest.raises(GrantRefused):
        accepted(encode_sealed(BODY, other.signature))


def test_the_client_of_a_grant_is_a_name() -> None:
    """With the longest issuer, too, so that lanes which know of no grants read the envelope."""
    client = client_of("i" * 30, b"\xff" * 16)
    assert re.match(NAME_PATTERN, client)
    assert grant().client == "ci.000102030405060708090a0b0c0d0e0f"


def test_subjects_of_two_texts_are_never_the_same() -> None:
    """All but printable ASCII is percent-encoded, and so is the per cent sign."""
    assert subject_of("repo:acme/app:environment:Production EU") == "repo:acme/app:environment:Production EU"
    texts = ["größe", "gr%C3%B6%C3%9Fe", "a\nb", "a%0Ab", "a\u202eb", "\u0430", "a"]
    subjects = {subject_of(text) for text in texts}
    assert len(subjects) == len(texts)
    assert subject_of("größe") == "gr%C3%B6%C3%9Fe"
    assert all(grant(subject=subject) == read_grant(forced(subject=subject)).grant for subject in subjects)
    for text in ("", "ö" * 200, "\ud800"):
        with pytest.raises(ValueError, match=r"subject|surrogate"):
            subject_of(text)
