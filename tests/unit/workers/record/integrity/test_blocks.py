"""A flipped byte in the files of a log is named: the file, the entry, and the byte where that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import log_folder
from workers.record.integrity.blocks import DamagedPlace, damage_of_block
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes

SIZE = 301


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Log of 301 entries: a whole block, and one of 45."""
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(1, 101):
        append(writer, *job("acme", number))
    seal(tmp_path)
    return log_folder(tmp_path, "acme")


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def last_byte_of(log: Path, wanted: int) -> int:
    """Place of the last byte of an entry in the file of its volume."""
    entries = dict(StoredEntries(log, SIZE).entries(0))
    return sum(2 + len(entries[index]) for index in range(wanted + 1)) - 1


def damage(log: Path) -> list[DamagedPlace]:
    entries = [entry for _, entry in StoredEntries(log, SIZE).entries(0)]
    hashes = StoredHashes(log)
    return damage_of_block(hashes, 0, entries[:256]) + damage_of_block(hashes, 1, entries[256:])


def test_a_log_without_damage_has_none(log: Path) -> None:
    assert damage(log) == []


@pytest.mark.parametrize("entry", [17, 300])
def test_a_flipped_byte_of_an_entry_is_named_with_the_entry(log: Path, entry: int) -> None:
    flip(log / "entries/000000.bin", last_byte_of(log, entry))
    assert damage(log) == [DamagedPlace(file="entries/000000.bin", entry=entry)]


def test_a_flipped_byte_of_a_hash_is_named_with_its_place_and_not_the_entry(log: Path) -> None:
    """The hash above says that the entry is as it was."""
    flip(log / "level0/000000.bin", 17 * 32 + 5)
    assert damage(log) == [DamagedPlace(file="level0/000000.bin", entry=17, offset=17 * 32)]


def test_a_flipped_byte_of_the_hash_above_is_named(log: Path) -> None:
    flip(log / "level1.bin", 3)
    assert damage(log) == [DamagedPlace(file="level1.bin", entry=0, offset=0)]


def test_an_export_names_what_is_damaged_and_exports_the_rest(log: Path, tmp_path: Path) -> None:
    """As it is on the disk: the verifier finds the same entry."""
    flip(log / "entries/000000.bin", last_byte_of(log, 17))
    exported = export(log, tmp_path / "bundle")
    assert [str(place) for place in exported.damage] == ["entries/000000.bin: entry 17"]
    assert exported.end == SIZE
    (origin,) = origins_of(tmp_path / "bundle")
    key = Ed25519NoteKey(exported.checkpoint.origin, EPOCH_KEY).verifier
    assert f"{origin.name}/17" in {problem.place for problem in OriginVerifier(origin, trusted=[key]).run()}
