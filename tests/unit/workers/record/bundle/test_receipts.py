"""A receipt proves one digest and its signature, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.notes import Ed25519NoteKey, read_note, sign_note
from queueing.transparency.origin_statements import read_statement
from queueing.transparency.proof_files import ProofFile, read_proof_file
from queueing.transparency.receipts import MOST_RECEIPT_BYTES, ReceiptExtra, verify_receipt
from queueing.transparency.short_statements import lengthened
from queueing.transparency.trusted_keys import TrustedKeys
from tests.support.farm.certified_logs import certify
from tests.support.farm.logged_jobs import SECRET_DIGEST, append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.reader import origins_of
from workers.record.bundle.receipts import make_receipt
from workers.record.bundle.search import Query, search
from workers.record.bundle.writer import export
from workers.record.folder import log_folder

JOBS = 200


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    writer = SegmentWriter(folder / "wal")
    for number in range(1, JOBS + 1):
        append(writer, *job("acme", number))
    seal(folder)
    export(log_folder(folder, "acme"), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def trusted(bundle: Path) -> TrustedKeys:
    (origin,) = origins_of(bundle)
    return TrustedKeys([Ed25519NoteKey(f"sigmill/prod/acme/{origin.name}", EPOCH_KEY).verifier])


@pytest.fixture(scope="module")
def receipts(bundle: Path) -> list[bytes]:
    """One of each job, for its first digest."""
    (origin,) = origins_of(bundle)
    return [make_receipt(origin, match, 0) for match in search(origin, Query(digest=SECRET_DIGEST))]


def test_every_job_of_the_log_gives_a_receipt_that_holds(receipts: list[bytes], trusted: TrustedKeys) -> None:
    assert len(receipts) == JOBS
    for number, data in enumerate(receipts):
        receipt = verify_receipt(data, trusted, digest=SECRET_DIGEST, signature=b"signature")
        assert receipt.index == 3 * number + 2
        assert receipt.entry.key_version == 1


def test_a_receipt_has_at_most_the_promised_bytes_and_nothing_of_other_digests(receipts: list[bytes]) -> None:
    assert max(map(len, receipts)) <= MOST_RECEIPT_BYTES
    for data in receipts[:3]:
        assert b"digest.length" not in read_proof_file(data).extra


def test_a_digest_that_was_not_signed_has_a_receipt_that_says_so(bundle: Path, trusted: TrustedKeys) -> None:
    (origin,) = origins_of(bundle)
    match = next(search(origin, Query(digest=bytes(32))))
    receipt = verify_receipt(make_receipt(origin, match, 1), trusted, digest=bytes(32))
    assert (receipt.item.signature_sha256, receipt.item.code) == (b"", "digest.length")


def test_another_digest_signature_tenant_or_key_is_refused(
    receipts: list[bytes], trusted: TrustedKeys
) -> None:
    with pytest.raises(ProofInvalid, match="of another digest"):
        verify_receipt(receipts[0], trusted, digest=bytes(32))
    with pytest.raises(ProofInvalid, match="another signature"):
        verify_receipt(receipts[0], trusted, digest=SECRET_DIGEST, signature=b"other")
    with pytest.raises(ProofInvalid, match="of another tenant: acme"):
        verify_receipt(receipts[0], trusted, digest=SECRET_DIGEST, tenant="globex")
    name = trusted.checkpoints[0].name
    other = Ed25519NoteKey(name, Ed25519PrivateKey.from_private_bytes(bytes(32))).verifier
    with pytest.raises(ProofInvalid, match="none of the trusted keys"):
        verify_receipt(receipts[0], TrustedKeys([other]), digest=SECRET_DIGEST)


def test_a_trusted_key_of_another_log_vouches_for_no_receipt_of_this_one(
    receipts: list[bytes], trusted: TrustedKeys
) -> None:
    """Who holds the key of one host cannot make receipts in the name of another."""
    whole = read_proof_file(receipts[0])
    other = Ed25519NoteKey("sigmill/prod/acme/0011223344556677", EPOCH_KEY)
    resigned = sign_note(read_note(whole.checkpoint).text, other)
    made = ProofFile(whole.index, whole.proof, resigned, whole.extra).encode()
    with pytest.raises(ProofInvalid, match="none of the trusted keys"):
        verify_receipt(made, TrustedKeys([*trusted.checkpoints, other.verifier]), digest=SECRET_DIGEST)


def test_the_proof_of_one_entry_with_the_content_of_another_is_refused(
    receipts: list[bytes], trusted: TrustedKeys
) -> None:
    first, second = read_proof_file(receipts[0]), read_proof_file(receipts[1])
    mixed = ProofFile(first.index, first.proof, first.checkpoint, second.extra).encode()
    with pytest.raises(ProofInvalid, match="not number"):
        verify_receipt(mixed, trusted, digest=SECRET_DIGEST)


@given(st.data())
def test_a_receipt_with_one_changed_byte_is_refused(
    receipts: list[bytes], trusted: TrustedKeys, data: st.DataObject
) -> None:
    receipt = bytearray(receipts[77])
    at = data.draw(st.integers(0, len(receipt) - 1))
    receipt[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofInvalid):
        verify_receipt(bytes(receipt), trusted, digest=SECRET_DIGEST, signature=b"signature")


@given(st.binary(max_size=400))
def test_extra_data_that_is_none_is_refused_in_one_way(
    receipts: list[bytes], trusted: TrustedKeys, extra: bytes
) -> None:
    whole = read_proof_file(receipts[0])
    with pytest.raises(ProofInvalid):
        verify_receipt(
            ProofFile(whole.index, whole.proof, whole.checkpoint, extra).encode(),
            trusted,
            digest=SECRET_DIGEST,
        )


def test_a_receipt_has_the_newest_statement_about_its_key(tmp_path: Path) -> None:
    """A key is certified again each week: the dates of the newest statement are the last to end."""
    append(SegmentWriter(tmp_path / "wal"), *job("acme", 1))
    seal(tmp_path)
    for size in (1, 3, 2):
        certify(log_folder(tmp_path, "acme"), size=size)
    export(log_folder(tmp_path, "acme"), tmp_path / "bundle")
    (origin,) = origins_of(tmp_path / "bundle")
    (match,) = search(origin, Query())
    proof = read_proof_file(make_receipt(origin, match, 0))
    log = read_checkpoint(read_note(proof.checkpoint).text).origin
    statement = lengthened(msgspec.msgpack.decode(proof.extra, type=ReceiptExtra).statement, log)
    assert read_statement(read_note(statement).text).head.size == 3
