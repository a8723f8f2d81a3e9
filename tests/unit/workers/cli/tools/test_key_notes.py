"""Notes say what tools do not: that there is no key, or that a certificate is missing or not valid now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from queueing.agent.token_objects import TokenKey
from queueing.protocol.public_keys import PublicKey
from tests.support.artifacts.odd_certificates import UNREADABLE
from tests.support.certificates import issue
from tests.support.keys import spki_of
from workers.cli.tools.key_notes import notes_of, tell_of_missing_certificates

PRIVATE = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = issue(None, PRIVATE, "A")
VALID = x509.load_der_x509_certificate(CERTIFICATE)
NOW = VALID.not_valid_before_utc + timedelta(minutes=1)


def key(name: str, *certificates: bytes) -> TokenKey:
    public = PublicKey.from_spki(spki_of(PRIVATE))
    return TokenKey(name=name, spec=f"{name}/1", public_key=public, algorithms=(), certificates=certificates)


@pytest.mark.parametrize(
    "now, said",
    [
        (NOW, []),
        (VALID.not_valid_after_utc + timedelta(seconds=1), ["expired on"]),
        (VALID.not_valid_before_utc - timedelta(days=1), ["is valid from"]),
    ],
)
def test_a_certificate_that_is_not_valid_now_is_told(now: datetime, said: list[str]) -> None:
    """osslsigncode and others sign with it all the same, and users' machines refuse what they signed."""
    notes = list(notes_of([key("release", CERTIFICATE), key("nightly")], now))
    assert len(notes) == len(said)
    assert all(part in note and "`release`" in note for part, note in zip(said, notes, strict=True))


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_a_certificate_that_cannot_be_read_is_told(raw: bytes) -> None:
    """The agent starts all the same, and shows the other keys."""
    notes = list(notes_of([key("release", raw), key("nightly", CERTIFICATE)], NOW))
    assert notes == ["the certificate of `release` cannot be read: tools that need it do not see the key"]


def test_a_token_without_keys_is_told() -> None:
    """A tenant with Ed25519 keys only: tools say that they find no key, or nothing."""
    (note,) = notes_of([], datetime.now(UTC))
    assert "Ed25519" in note


def test_keys_without_certificates_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the option that brings one along; nothing is said where each has one."""
    tell_of_missing_certificates([key("release", CERTIFICATE)])
    assert capsys.readouterr().err == ""
    tell_of_missing_certificates([key("release", CERTIFICATE), key("nightly")])
    said = capsys.readouterr().err
    assert "`nightly`" in said
    assert "--certificate" in said
    assert "release" not in said
