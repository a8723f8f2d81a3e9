"""Envelopes: one encoding, one signature, and nothing damaged passes for another."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from queueing.errors import EnvelopeMalformed, EnvelopeSignature
from queueing.protocol import envelope as envelope_module
from queueing.protocol.client_keys import ClientKey, ClientKeyKind, ClientPublicKey
from queueing.protocol.envelope import MAX_DIGESTS, MAX_SEALED_BYTES, Envelope, read_unverified, seal
from tests.support.damage.changed_bytes import prefixes, with_one_bit_flipped

KEY = ClientKey.generate()
PUBLIC = ClientPublicKey.from_spki(KEY.public_spki)


def envelope(**changes: object) -> Envelope:
    fields: dict[str, object] = {
        "audience": "prod/eu",
        "tenant": "acme",
        "client": "ci",
        "key": "release",
        "key_version": 0,
        "algorithm": "ECDSA_SHA_256",
        "issued_at_ms": 1_700_000_000_000,
        "expires_at_ms": 1_700_000_060_000,
        "idempotency_key": b"k" * 16,
        "digests": (b"d" * 32, b"e" * 32),
    }
    return Envelope(**{**fields, **changes})  # type: ignore[arg-type]


SEALED = seal(envelope(), KEY)


class Exploding:
    """Would run on unpickling."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


def accepted(sealed: bytes) -> Envelope:
    """The envelope in these bytes, verified as a lane verifies it."""
    unverified = read_unverified(sealed)
    PUBLIC.verify_envelope(unverified.signed_bytes, unverified.signature)
    return unverified.envelope


@pytest.mark.parametrize("kind", list(ClientKeyKind))
def test_a_sealed_envelope_is_read(kind: ClientKeyKind) -> None:
    """Both kinds of client key seal; the content comes back as it was."""
    key = ClientKey.generate(kind)
    unverified = read_unverified(seal(envelope(), key))
    ClientPublicKey.from_spki(key.public_spki).verify_envelope(unverified.signed_bytes, unverified.signature)
    assert unverified.envelope == envelope()


def test_an_envelope_that_is_cut_at_any_byte_is_malformed() -> None:
    for cut in prefixes(SEALED):
        with pytest.raises(EnvelopeMalformed):
            accepted(cut)


def test_any_byte_flipped_is_refused() -> None:
    """Each of a byte's bits flipped, anywhere: malformed, or a signature that does not verify."""
    for damaged in with_one_bit_flipped(SEALED):
        with pytest.raises((EnvelopeMalformed, EnvelopeSignature)):
            accepted(damaged)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"audience": ""},
        {"tenant": "Acme"},
        {"tenant": "a{b}"},
        {"tenant": "acme\n"},
        {"client": ""},
        {"client": "c" * 64},
        {"key": "../x"},
        {"key": "é"},
        {"key_version": -1},
        {"issued_at_ms": 2**60},
        {"idempotency_key": b"k" * 15},
        {"digests": ()},
        {"digests": (b"d" * 32,) * (MAX_DIGESTS + 1)},
        {"digests": (b"d" * 129,)},
        {"algorithm": "A" * 65},
        {"grant": b"g" * 4097},
    ],
)
def test_content_out_of_bounds_is_malformed(changes: dict[str, object]) -> None:
    """Empty, 1,025 digests, foreign names, wrong lengths: sealed by a right key, refused all the same."""
    with pytest.raises(EnvelopeMalformed):
        read_unverified(seal(envelope(**changes), KEY))


def test_the_largest_envelope_is_read() -> None:
    """1,024 digests of the longest kind that is carried fit."""
    largest = envelope(digests=(b"d" * 128,) * MAX_DIGESTS, grant=b"g" * 4096)
    assert read_unverified(seal(largest, KEY)).envelope == largest


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80",
        b"\xc1",
        b"\x92\xc4\x00\xc4\x00",
        b"\x91" * 100_000,
        b"x" * (MAX_SEALED_BYTES + 1),
        pickle.dumps(Exploding()),
        msgspec.msgpack.encode([pickle.dumps(Exploding()), b"s"]),
    ],
)
def test_other_bytes_are_malformed(raw: bytes) -> None:
    """Anything else, pickles included, is refused unread; the message quotes none of it."""
    with pytest.raises(EnvelopeMalformed) as caught:
        read_unverified(raw)
    assert "pytest" not in str(caught.value)


def test_too_many_bytes_are_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds before any byte is decoded, and a good envelope of exactly that size is read."""
    monkeypatch.setattr(envelope_module, "MAX_SEALED_BYTES", len(SEALED))
    assert read_unverified(SEALED).envelope == envelope()
    monkeypatch.setattr(envelope_module, "MAX_SEALED_BYTES", len(SEALED) - 1)
    with pytest.raises(EnvelopeMalformed, match=f"{len(SEALED)} bytes, at most {len(SEALED) - 1} are read"):
        read_unverified(SEALED)


def test_a_second_encoding_of_the_same_content_is_malformed() -> None:
    """Canonical: the same fields with a wider integer are not the same envelope."""
    body = msgspec.msgpack.encode(envelope())
    assert body.startswith(b"\x9c\x01")
    wider = b"\x9c\xcc\x01" + body[2:]
    with pytest.raises(EnvelopeMalformed, match="canonical"):
        read_unverified(msgspec.msgpack.encode([wider, b"s" * 64]))
