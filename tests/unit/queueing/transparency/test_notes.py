"""Notes, checkpoints and proof files are read in their one form, and believed only from a trusted key."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint, sign_checkpoint, verify_checkpoint
from queueing.transparency.notes import (
    ECDSA,
    Ed25519NoteKey,
    VerifierKey,
    read_note,
    read_verifier_key,
    sign_note,
    verified_text,
)
from queueing.transparency.proof_files import ProofFile, read_proof_file
from tests.support.keys import EcdsaNoteKey, spki_of

# The example of Go's golang.org/x/mod/sumdb/note.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANNS_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
KEY = Ed25519NoteKey("sigmill/prod", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = Ed25519NoteKey("sigmill/prod", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
HEAD = Checkpoint("sigmill/prod/acme/0011223344556677", 7, bytes(range(32)))


def test_the_published_note_verifies_under_its_published_key() -> None:
    key = read_verifier_key(NEUMANN)
    assert key.text == NEUMANN
    assert verified_text(NEUMANNS_NOTE, [key]).startswith("If you think")


def test_a_note_of_two_keys_verifies_under_each() -> None:
    service = EcdsaNoteKey("sigmill/prod/service")
    note = sign_note("one\n\ntwo\n", KEY, service)
    for key in (KEY.verifier, service.verifier, read_verifier_key(service.verifier.text)):
        assert verified_text(note, [key]) == "one\n\ntwo\n"


def test_a_line_of_an_unknown_key_is_ignored_even_under_a_trusted_name() -> None:
    note = sign_note("one\n", OTHER, KEY)
    assert verified_text(note, [KEY.verifier]) == "one\n"
    with pytest.raises(ProofInvalid, match=r"none of the trusted keys \(sigmill/prod\)"):
        verified_text(sign_note("one\n", OTHER), [KEY.verifier])
    with pytest.raises(ProofInvalid, match="no key at all"):
        verified_text(note, [])


def test_a_changed_text_and_a_changed_signature_are_refused() -> None:
    note = sign_note("one\n", KEY)
    with pytest.raises(ProofInvalid, match="does not verify"):
        verified_text(note.replace(b"one", b"two"), [KEY.verifier])
    head, _, encoded = note.decode().rstrip("\n").rpartition(" ")
    raw = bytearray(base64.b64decode(encoded))
    raw[-1] ^= 1
    with pytest.raises(ProofInvalid, match="does not verify"):
        verified_text(f"{head} {base64.b64encode(raw).decode()}\n".encode(), [KEY.verifier])


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "no signature lines"),
        (b"text\n", "no signature lines"),
        (b"text\n\n", "no signature lines"),
        (b"text\n\nsigmill/prod AAAAAAAA\n", "is not '— NAME BASE64'"),
        ("text\n\n—  AAAAAAAA\n".encode(), "is not '— NAME BASE64'"),
        ("text\n\n— a+b AAAAAAAA\n".encode(), "is not '— NAME BASE64'"),
        ("text\n\n— a AAAAA\n".encode(), "not base64"),
        ("text\n\n— a AAAAAA==\n".encode(), "is empty"),
        ("text\n\n— a AAAAAAB=\n".encode(), "the one form"),
        ("text\n\n— a AAAAAAAA".encode(), "no signature lines"),
        (b"\xff\n\n", "not UTF-8 at byte 0"),
        ("te\rxt\n\n— a AAAAAAAA\n".encode(), "control character 0x0d"),
        ("text\n\n" + "— a AAAAAAAA\n" * 101, "101 signatures"),
        (b"x" * 1_000_001, "1000001 bytes"),
    ],
)
def test_a_text_that_is_no_note_is_refused_with_a_sentence(data: bytes | str, says: str) -> None:
    with pytest.raises(ProofInvalid, match=says):
        read_note(data if isinstance(data, bytes) else data.encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    for each in (data, b"text\n\n" + data, "text\n\n— a ".encode() + data + b"\n"):
        try:
            read_note(each)
        except ProofInvalid:
            continue


@pytest.mark.parametrize("text", ["no newline", "a\tb\n", "\x00\n", ""])
def test_no_note_is_made_over_a_text_that_none_can_hold(text: str) -> None:
    with pytest.raises(ValueError, match="ends with a newline"):
        sign_note(text, KEY)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "not base64|neither"),
        ("a+00000000+", "neither Ed25519 nor ECDSA"),
        ("a+00000000+AQ==", "neither Ed25519 nor ECDSA"),
        ("a+00000000+" + base64.b64encode(b"\x01" + bytes(31)).decode(), "31 bytes"),
        ("a+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(), "the id of 'a' is"),
        ("a+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(), "no SubjectPublicKeyInfo"),
        ("a b+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(), "no name"),
        ("a+00000000+" + base64.b64encode(b"\x07" + bytes(32)).decode(), "neither Ed25519 nor ECDSA"),
    ],
)
def test_a_text_that_is_no_verifier_key_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(ProofInvalid, match=says):
        read_verifier_key(text)


def test_an_ecdsa_key_that_is_of_another_kind_is_refused() -> None:
    spki = spki_of(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(ProofInvalid, match="another kind"):
        read_verifier_key(VerifierKey("a", ECDSA, spki).text)


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    note = sign_checkpoint(HEAD, KEY)
    assert verify_checkpoint(note, [KEY.verifier], HEAD.origin) == HEAD


def test_a_checkpoint_of_another_origin_is_refused() -> None:
    with pytest.raises(ProofInvalid, match=r"is of 'sigmill/prod/acme/0011223344556677', and not of"):
        verify_checkpoint(sign_checkpoint(HEAD, KEY), [KEY.verifier], "sigmill/prod/other/0011223344556677")


@pytest.mark.parametrize(
    "text, says",
    [
        ("origin\n7\n", "2 lines"),
        ("origin\n7\nAAAA\nextension\n", "4 lines"),
        ("\n7\nAAAA\n", "3 lines"),
        ("origin\n07\nAAAA\n", "size '07'"),
        ("origin\n-1\nAAAA\n", "size '-1'"),
        ("origin\n\uff19\nAAAA\n", "size"),
        ("origin\n9999999999999999999\nAAAA\n", "size"),
        ("origin\n7\nAAAA\n", "3 bytes, not 32"),
        ("origin\n7\n!\n", "not base64"),
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(ProofInvalid, match=says):
        read_checkpoint(text)


def test_a_proof_file_is_read_as_it_was_written() -> None:
    checkpoint = sign_checkpoint(HEAD, KEY)
    for extra in (b"", b"\x00more"):
        proof = ProofFile(3, (bytes(32), bytes([1]) * 32), checkpoint, extra)
        assert read_proof_file(proof.encode()) == proof


def test_a_proof_file_has_the_lines_of_the_specification() -> None:
    lines = ProofFile(3, (bytes(32),), b"CHECKPOINT\n", b"extra").encode().decode().split("\n")
    assert lines == [
        "c2sp.org/tlog-proof@v1", "extra ZXh0cmE=", "index 3", base64.b64encode(bytes(32)).decode(), "", "CHECKPOINT", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "no checkpoint"),
        (b"c2sp.org/tlog-proof@v1\nindex 1\n", "no checkpoint"),
        (b"c2sp.org/tlog-proof@v2\nindex 1\n\n", "does not begin"),
        (b"c2sp.org/tlog-proof@v1\n\n", "no line 'index N'"),
        (b"c2sp.org/tlog-proof@v1\nindex 01\n\n", "no line 'index N'"),
        (b"c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\n", "extra data is not base64"),
        (b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n", "not 32 bytes"),
        (b"c2sp.org/tlog-proof@v1\nindex 1\n" + b"AAAA\n" * 64 + b"\n", "64 hashes"),
        (b"\xff\n\n", "not text"),
        (b"x" * 300_000, "300000 bytes"),
    ],
)
def test_a_text_that_is_no_proof_file_is_refused_with_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(ProofInvalid, match=says):
        read_proof_file(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_proof_file_or_refused(data: bytes) -> None:
    for each in (data, b"c2sp.org/tlog-proof@v1\nindex 1\n" + data):
        try:
            read_proof_file(each)
        except ProofInvalid:
            continue
