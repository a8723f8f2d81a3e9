"""A statement is built from its short form byte by byte, or not at all."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import ProofInvalid
from queueing.transparency.notes import ECDSA, Ed25519NoteKey, VerifierKey, read_note, sign_note
from queueing.transparency.origin_statements import verify_statement
from queueing.transparency.short_statements import lengthened, shortened
from tests.support.farm.job_proofs import Log

LOG = Log()
SHORT = LOG.statement(Ed25519NoteKey(LOG.origin, LOG.key))
SERVICE = VerifierKey("sigmill/prod/service", ECDSA, LOG.service.spki)


def test_the_signed_note_comes_back() -> None:
    note = lengthened(SHORT, LOG.origin)
    assert (
        verify_statement(note, [SERVICE], LOG.origin).epoch_key
        == Ed25519NoteKey(LOG.origin, LOG.key).verifier
    )
    assert shortened(note) == SHORT
    assert len(SHORT) < 0.6 * len(note)


def test_a_statement_does_not_verify_with_another_log() -> None:
    other = LOG.origin.replace("acme", "other")
    with pytest.raises(ProofInvalid, match="does not verify"):
        verify_statement(lengthened(SHORT, other), [SERVICE], other)


def test_a_note_with_a_further_signature_has_no_short_form() -> None:
    """It would come back without it."""
    text = read_note(lengthened(SHORT, LOG.origin)).text
    twice = sign_note(text, LOG.service, Ed25519NoteKey("witness", LOG.key))
    with pytest.raises(ProofInvalid, match="no short form"):
        shortened(twice)


def test_a_second_encoding_is_no_statement() -> None:
    """The same time as a signed number: a receipt would have two forms."""
    issued = msgspec.msgpack.decode(SHORT)[8].to_bytes(4)
    again = SHORT.replace(b"\xce" + issued, b"\xd2" + issued)
    assert again != SHORT
    with pytest.raises(ProofInvalid, match="one encoding"):
        lengthened(again, LOG.origin)


def test_a_host_that_the_note_would_write_otherwise_is_no_statement() -> None:
    """A blank becomes a dash in the note, which would verify."""
    again = SHORT.replace(b"signing-host", b"signing host")
    assert again != SHORT
    with pytest.raises(ProofInvalid, match="one encoding"):
        lengthened(again, LOG.origin)


@given(st.data())
def test_one_changed_byte_is_no_statement(data: st.DataObject) -> None:
    raw = bytearray(SHORT)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofInvalid):
        verify_statement(lengthened(bytes(raw), LOG.origin), [SERVICE], LOG.origin)
