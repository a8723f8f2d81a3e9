"""The record is a function of the write-ahead log's bytes: sealed at once or after any crash, it is the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from queueing.transparency.checkpoints import Checkpoint, verify_checkpoint
from queueing.transparency.entries import decode_entry, encode_entry
from queueing.transparency.merkle import leaf_hash
from queueing.transparency.notes import Ed25519NoteKey
from queueing.transparency.proofs import inclusion_proof, verify_inclusion
from tests.support.farm.logged_jobs import SECRET_DIGEST, append, intent, job
from tests.support.farm.sealed_logs import EPOCH_KEY, run_to_end, sealer
from workers.journal.records import (
    CanaryIntentRecord,
    CanaryOutcomeRecord,
    OutcomeRecord,
    Record,
    ReturnedRecord,
    encode_record,
)
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame, segments_of
from workers.record.folder import log_folder, sealed_segments
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes
from workers.record.volumes import ENTRY_LENGTH, RecordDamaged


def content(state_dir: Path) -> dict[str, bytes]:
    folder = state_dir / "record"
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "sealed"
    }


def entries(state_dir: Path, tenant: str) -> list[bytes]:
    data = (log_folder(state_dir, tenant) / "entries" / "000000.bin").read_bytes()
    found, offset = [], 0
    while offset < len(data):
        (length,) = ENTRY_LENGTH.unpack_from(data, offset)
        offset += ENTRY_LENGTH.size + length
        found.append(data[offset - length : offset])
    return found


def checkpoint(state_dir: Path, tenant: str) -> Checkpoint:
    data = (log_folder(state_dir, tenant) / "checkpoint").read_bytes()
    origin = data.decode().split("\n")[0]
    return verify_checkpoint(data, [Ed25519NoteKey(origin, EPOCH_KEY).verifier], origin)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A log of three jobs of two tenants, one of which was requeued."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    append(writer, intent("globex", 2), *job("acme", 3))
    append(writer, ReturnedRecord(9, "globex", b"job2", b"w:1", maybe_signed=False))
    return tmp_path


def test_every_entry_is_proven_by_the_checkpoint_of_its_tenant(state_dir: Path) -> None:
    run_to_end(sealer(state_dir))
    for tenant, size in (("acme", 7), ("globex", 3)):
        head = checkpoint(state_dir, tenant)
        found = entries(state_dir, tenant)
        assert (head.size, len(found)) == (size, size)
        hashes = StoredHashes(log_folder(state_dir, tenant))
        for index, entry in enumerate(found):
            proof = inclusion_proof(hashes, index, size)
            verify_inclusion(leaf_hash(entry), index, size, proof, head.root)


def test_no_entry_has_a_digest_a_signature_or_a_job_id_and_the_items_have(state_dir: Path) -> None:
    run_to_end(sealer(state_dir))
    files = content(state_dir)
    for secret in (SECRET_DIGEST, b"job1", b"signature"):
        assert not [name for name, data in files.items() if secret in data and "/items/" not in name]
    assert SECRET_DIGEST in files["logs/acme/items/000000.bin"]


def test_nothing_of_one_tenant_is_in_the_log_of_another(state_dir: Path) -> None:
    run_to_end(sealer(state_dir))
    for name, data in content(state_dir).items():
        other = b"globex" if name.startswith("logs/acme/") else b"acme"
        assert other not in data or name == "origin", name


def test_a_crash_after_any_record_and_any_write_changes_no_byte(
    state_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run_to_end(sealer(state_dir))
    whole = content(state_dir)
    origin = (state_dir / "record" / "origin").read_bytes()
    for kept_after in range(10):
        for signed_after in range(kept_after, 11):
            again = tmp_path_factory.mktemp("again")
            shutil.copytree(state_dir / "wal", again / "wal")
            (again / "record").mkdir()
            (again / "record" / "origin").write_bytes(origin)
            first = sealer(again)
            records = first._follower.records(100)
            for number, record in enumerate(records):
                if number == signed_after:
                    break
                for addition in first._additions(record):
                    log = first._log_of(addition.tenant)
                    log.append(addition.data, addition.row)
                if number == kept_after:
                    first.keep()
            first.sign()
            run_to_end(sealer(again))
            assert content(again) == whole, (kept_after, signed_after)


def test_a_checkpoint_covers_nothing_that_is_not_durable_in_the_log(state_dir: Path) -> None:
    newest = max((state_dir / "wal").glob("*.wal"))
    with newest.open("ab") as file:
        file.write(frame(encode_record(intent("acme", 77))))
    run_to_end(sealer(state_dir))
    assert checkpoint(state_dir, "acme").size == 7


def test_a_log_that_is_not_the_published_one_is_never_signed(state_dir: Path) -> None:
    run_to_end(sealer(state_dir))
    before = (log_folder(state_dir, "acme") / "checkpoint").read_bytes()
    for file in (state_dir / "wal").iterdir():
        file.unlink()
    writer = SegmentWriter(state_dir / "wal")
    for number in range(40, 45):
        append(writer, *job("acme", number))
    forged = sealer(state_dir)
    with pytest.raises(RecordDamaged, match="not the one whose checkpoint was published"):
        run_to_end(forged)
    assert (log_folder(state_dir, "acme") / "checkpoint").read_bytes() == before


def test_a_restart_without_new_records_signs_the_same_head_again(state_dir: Path) -> None:
    first = sealer(state_dir)
    run_to_end(first)
    first.keep()
    before = checkpoint(state_dir, "acme")
    run_to_end(sealer(state_dir))
    assert checkpoint(state_dir, "acme") == before


@pytest.mark.parametrize("name", ["origin", "sealed", "logs/acme/checkpoint"])
def test_a_file_of_the_record_that_is_damaged_is_named(state_dir: Path, name: str) -> None:
    first = sealer(state_dir)
    run_to_end(first)
    first.keep()
    (state_dir / "record" / name).write_bytes(b"\xff" + os.urandom(8))
    with pytest.raises(RecordDamaged, match=name):
        sealer(state_dir)


def test_any_flipped_bit_in_what_was_sealed_is_damage(state_dir: Path) -> None:
    """A wrong place or a wrong open claim would give another record, and a wrong shape would end the process again and again."""
    first = sealer(state_dir)
    records = first._follower.records(3)
    for addition in first._additions(next(records)):
        first._log_of(addition.tenant).append(encode_entry(addition.entry))
    first.sign()
    first.keep()
    file = state_dir / "record" / "sealed"
    whole = file.read_bytes()
    for at in range(0, len(whole), 3):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(RecordDamaged, match="sealed cannot be read"):
            sealer(state_dir)
        assert sealed_segments(state_dir).below == 0
    for size in (0, 31, 32, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(RecordDamaged, match="sealed cannot be read"):
            sealer(state_dir)
    file.write_bytes(whole)
    run_to_end(sealer(state_dir))
    assert sealed_segments(state_dir).below == 1


def test_files_that_lost_synced_bytes_are_named_and_not_written_on(state_dir: Path) -> None:
    first = sealer(state_dir)
    run_to_end(first)
    first.keep()
    file = log_folder(state_dir, "acme") / "entries" / "000000.bin"
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(RecordDamaged, match="were synced"):
        sealer(state_dir)


def wrong_records() -> list[tuple[str, list[Record]]]:
    """Records whose frames are whole, and of which no entry can be made that could be read again."""
    good = job("acme", 2)
    outcome, released = good[1:]
    assert isinstance(outcome, OutcomeRecord)
    replace = msgspec.structs.replace
    return [
        ("salt", [replace(intent("acme", 2), salt=b"s" * 99), outcome, released]),
        ("tenant", [replace(intent("acme", 2), tenant="../globex"), replace(outcome, tenant="../globex")]),
        ("no folder", [replace(intent("acme", 2), tenant="a\0b")]),
        ("attempt", [replace(intent("acme", 2), attempt=-1), outcome, released]),
        ("dropped", [good[0], replace(outcome, dropped=-1), released]),
        ("canary", [canary, replace(canary_outcome, outcome="x" * 70_000)]),
    ]


canary = CanaryIntentRecord(5, "acme", b"c", b"w:1", "t", "release", 1, bytes(32), "ECDSA_SHA_256", bytes(32))
canary_outcome = CanaryOutcomeRecord(5, "acme", b"c", b"w:1", "ok", b"s")


@pytest.mark.parametrize("records", [pytest.param(each, id=name) for name, each in wrong_records()])
def test_a_wrong_record_costs_itself_each_time_that_it_is_read(tmp_path: Path, records: list[Record]) -> None:
    """What is behind it is sealed, all of it can be read, and a crash changes no byte."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    append(writer, *records, *job("acme", 3), *job("globex", 4))
    first = sealer(tmp_path)
    run_to_end(first)
    assert len(first.skipped) == (2 if "../globex" in {record.tenant for record in records} else 1)  # type: ignore[union-attr]
    assert set(first.entries) == {"acme", "globex"}
    found = entries(tmp_path, "acme")
    assert [decode_entry(entry).kind for entry in found[-3:]] == ["intent", "outcome", "committed"]  # type: ignore[union-attr]
    stored = StoredEntries(log_folder(tmp_path, "acme"), len(found))
    assert [row.outcome for row in stored.rows(0)][-1] == len(found) - 2
    whole = content(tmp_path)
    again = sealer(tmp_path)  # nothing was kept: everything is read again
    run_to_end(again)
    assert content(tmp_path) == whole
    assert again.skipped == first.skipped


def test_segments_with_something_that_is_not_sealed_are_named(tmp_path: Path) -> None:
    """A wrong record, one of a later version, damage, and signatures without an intent; the next segment is whole."""
    later = frame(msgspec.msgpack.encode(["Later", 5, "acme"]))
    cases: list[tuple[bytes, list[Record]]] = [
        (b"", wrong_records()[0][1]),
        (later, []),
        (b"", job("acme", 2)[1:]),
        (b"", job("acme", 3)),
        (b"", job("acme", 4)),
    ]
    for raw, records in cases:
        writer = SegmentWriter(tmp_path / "wal")
        writer.append(raw, ())
        append(writer, *records)
        writer.abandon()
    damaged = segments_of(tmp_path / "wal")[3]
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-200] + bytes([data[-200] ^ 1]) + data[-199:])
    writing = SegmentWriter(tmp_path / "wal")
    append(writing, *job("acme", 5))
    first = sealer(tmp_path)
    run_to_end(first)
    first.keep()
    assert sealed_segments(tmp_path) == (6, frozenset({1, 2, 3, 4}))
    sealing = sealer(tmp_path)
    run_to_end(sealing)
    sealing.keep()
    assert sealed_segments(tmp_path) == (6, frozenset({1, 2, 3, 4}))
    segments_of(tmp_path / "wal")[0].unlink()
    sealing.keep()
    assert sealed_segments(tmp_path).incomplete == {2, 3, 4}


def restored_wal(state_dir: Path, *, segments: int) -> None:
    """A log that was replaced: by its first segments, and others that were written since under the same numbers."""
    for file in segments_of(state_dir / "wal")[1:]:
        file.unlink()
    for number in range(segments):
        writer = SegmentWriter(state_dir / "wal", clock_s=lambda: 1e9)
        append(writer, *job("acme", 100 + number))
        writer.abandon()


@pytest.mark.parametrize("segments", [1, 3, 4])
def test_of_a_restored_log_no_segment_counts_as_sealed(tmp_path: Path, segments: int) -> None:
    """Its numbers are those of segments that were sealed, and its records are not: whether it is shorter or as long by now."""
    for number in range(4):
        writer = SegmentWriter(tmp_path / "wal")
        append(writer, *job("acme", number))
        writer.abandon()
    first = sealer(tmp_path)
    run_to_end(first)
    first.keep()
    assert sealed_segments(tmp_path).below == 4
    restored_wal(tmp_path, segments=segments)
    assert sealed_segments(tmp_path) == (0, frozenset())


def test_of_a_restored_record_no_segment_counts_as_sealed_that_it_does_not_have(tmp_path: Path) -> None:
    """Its `sealed` is older than the log: what was sealed since is kept until it is sealed again."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    writer.abandon()
    writing = SegmentWriter(tmp_path / "wal")
    append(writing, *job("acme", 2))
    first = sealer(tmp_path)
    run_to_end(first)
    first.keep()
    older = (tmp_path / "record" / "sealed").read_bytes()
    writing.abandon()
    for number in (3, 4):
        append(SegmentWriter(tmp_path / "wal"), *job("acme", number))
    run_to_end(first)
    first.keep()
    (tmp_path / "record" / "sealed").write_bytes(older)
    assert sealed_segments(tmp_path).below == 2
    segments_of(tmp_path / "wal")[1].unlink()
    assert sealed_segments(tmp_path).below == 0


def test_a_log_that_is_replaced_beside_a_running_sealer_is_noticed(tmp_path: Path) -> None:
    """It would wait for a number that comes months later, and seal nothing meanwhile."""
    for number in range(3):
        writer = SegmentWriter(tmp_path / "wal")
        append(writer, *job("acme", number))
        writer.abandon()
    running = sealer(tmp_path)
    run_to_end(running)
    restored_wal(tmp_path, segments=1)
    with pytest.raises(RecordDamaged, match="segment 3 of the write-ahead log is not there"):
        running.advance()


def test_a_segment_whose_first_sync_fails_is_no_place(tmp_path: Path) -> None:
    """Its file goes, and a sealer that had been in it would give up its record for it."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    writer.abandon()
    running = sealer(tmp_path)
    run_to_end(running)
    begun = tmp_path / "wal" / f"{2:012d}.wal"
    begun.write_bytes(b"")
    run_to_end(running)
    begun.unlink()
    running.keep()
    assert sealed_segments(tmp_path).below == 1
    run_to_end(sealer(tmp_path))
