"""Origin statements: what goes in comes out, in one form, and only the service key speaks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint
from queueing.transparency.notes import ECDSA, ED25519, VerifierKey, signature_line
from queueing.transparency.origin_statements import OriginStatement, read_statement, verify_statement
from tests.support.keys import spki_of

ORIGIN = "sigmill/prod/acme/0123456789abcdef"
EPOCH_KEY = VerifierKey(
    ORIGIN, ED25519, Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
)
SERVICE_KEY = ec.derive_private_key(7, ec.SECP256R1())
SERVICE = VerifierKey(
    "sigmill/prod/service",
    ECDSA,
    spki_of(SERVICE_KEY),
)


def statement(follows: Checkpoint | None = None, host: str = "host-1") -> OriginStatement:
    return OriginStatement(
        audience="prod",
        epoch_key=EPOCH_KEY,
        head=Checkpoint(ORIGIN, 7, bytes(32)),
        follows=follows,
        host=host,
        build="0.1.0",
        issued=datetime(2026, 11, 27, tzinfo=UTC),
        expires=datetime(2026, 12, 27, tzinfo=UTC),
    )


def signed(text: str) -> bytes:
    signature = SERVICE_KEY.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return f"{text}\n{signature_line(SERVICE, signature)}".encode()


@pytest.mark.parametrize("follows", [None, Checkpoint("sigmill/prod/acme/fedcba9876543210", 9, b"r" * 32)])
def test_a_statement_is_read_as_it_was_written(follows: Checkpoint | None) -> None:
    made = statement(follows)
    assert verify_statement(signed(made.text), [SERVICE], ORIGIN) == made


def test_a_host_name_cannot_add_a_line_or_a_word() -> None:
    made = statement(host="a b\nfollows none")
    assert made.text.count("\n") == 7
    assert read_statement(made.text).host == "a-b-follows-none"


def test_a_statement_of_another_key_or_about_another_log_is_refused() -> None:
    other = VerifierKey("sigmill/prod/other", ECDSA, SERVICE.public_key)
    with pytest.raises(ProofInvalid, match="none of the trusted keys"):
        verify_statement(signed(statement().text), [other], ORIGIN)
    with pytest.raises(ProofInvalid, match="is about"):
        verify_statement(signed(statement().text), [SERVICE], ORIGIN.replace("acme", "globex"))


@pytest.mark.parametrize(
    "old, new",
    [
        ("sigmill-origin/v1", "sigmill-origin/v2"),
        ("from 7", "from 07"),
        ("from 7", "since 7"),
        ("follows none", "follows nothing"),
        ("follows none", "none"),
        ("2026-11-27T00:00:00Z", "yesterday"),
        ("2026-11-27T00:00:00Z", "2026-11-27T0:00:00Z"),
        ("host-1 ", "host-1 more "),
        (ORIGIN + "\n", ORIGIN.replace("acme", "globex") + "\n"),
    ],
)
def test_any_other_form_is_refused_also_where_it_is_signed(old: str, new: str) -> None:
    text = statement().text
    assert old in text
    with pytest.raises(ProofInvalid):
        verify_statement(signed(text.replace(old, new, 1)), [SERVICE], ORIGIN)
