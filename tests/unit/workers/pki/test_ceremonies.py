"""A record of a ceremony proves that its command made this key, and nothing else does."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from queueing.protocol.public_keys import PublicKey
from tests.support.fakes.config_files import p256_key
from tests.support.keys import spki_of
from workers.pki.ceremonies import CeremonyInvalid, CeremonyRecord, OpenCeremony, read_record

SERVICE, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
OPENED_AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
MADE_AT = datetime(2026, 11, 27, 12, 0, 3, tzinfo=UTC)


def public(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey.from_spki(spki_of(key))


def ceremony() -> OpenCeremony:
    return OpenCeremony.begun(
        audience="prod/eu-west", tenant="acme", key="release", version=1, token="acme", witnesses=("Ada",), at=OPENED_AT
    )  # fmt: skip


def record(*, begun: OpenCeremony | None = None) -> CeremonyRecord:
    """The record after the key was made."""
    begun = begun or ceremony()
    return begun.closed(SERVICE.sign(begun.to_be_signed()), p256_key(1), MADE_AT)


def test_a_record_proves_the_key_its_time_and_the_witnesses() -> None:
    """After it was read back from its file."""
    opening, made = read_record(record().encode()).proven(public(SERVICE))

    assert (opening.audience, opening.tenant, opening.key, opening.version) == (
        "prod/eu-west", "acme", "release", 1,
    )  # fmt: skip
    assert (opening.witnesses, opening.token, opening.at) == (("Ada",), "acme", OPENED_AT)
    assert (made.public_key_sha256, made.at) == (p256_key(1).sha256.hex(), MADE_AT)


def test_an_opening_alone_proves_no_key() -> None:
    """A command that ended before the token answered."""
    begun = ceremony()

    with pytest.raises(CeremonyInvalid, match="its key is not signed"):
        begun.record(SERVICE.sign(begun.to_be_signed())).proven(public(SERVICE))


def test_another_service_keys_opening_proves_nothing() -> None:
    """Nor does an opening without a signature."""
    for opened in (OTHER.sign(ceremony().to_be_signed()), b""):
        with pytest.raises(CeremonyInvalid, match="not signed by the pinned service key"):
            msgspec.structs.replace(record(), opened=opened).proven(public(SERVICE))


@pytest.mark.parametrize("part", ["opening", "made", "closed"])
def test_a_changed_byte_is_noticed_in_each_part(part: str) -> None:
    """Witnesses, key and time are as they were signed."""
    good = record()
    raw: bytes = getattr(good, part)
    changes: list[dict[str, Any]] = [
        {part: raw[:i] + bytes((raw[i] ^ 1,)) + raw[i + 1 :]} for i in range(len(raw))
    ]
    for change in changes:
        with pytest.raises(CeremonyInvalid):
            msgspec.structs.replace(good, **change).proven(public(SERVICE))


def test_the_key_of_one_ceremony_is_not_that_of_another() -> None:
    """Each ceremony has a closing key of its own: what another one signed is of another opening."""
    first, second = record(), record()

    with pytest.raises(CeremonyInvalid, match="its key is not signed"):
        msgspec.structs.replace(first, made=second.made, closed=second.closed).proven(public(SERVICE))


def test_the_closing_key_is_in_no_text() -> None:
    """Nor is it in the record: a reader of the file cannot close another key by it."""
    begun = ceremony()
    made = record(begun=begun)
    secret = begun._closing_key.private_bytes_raw()
    written = b"\n".join((repr(begun).encode(), made.opening, made.made, made.closed, made.encode()))

    assert base64.b64encode(begun._closing_key.public_key().public_bytes_raw()) in written
    for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
        assert form not in written
    assert "PrivateKey" not in repr(begun)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Each is ``CeremonyInvalid``."""
    for data in (raw, b'{"opening":"' + raw):
        with pytest.raises(CeremonyInvalid):
            read_record(data).proven(public(SERVICE))
