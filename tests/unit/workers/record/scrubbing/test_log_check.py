"""Whatever is flipped in the files of a log is found, in its own file, and nothing else is blamed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from queueing.transparency.merkle import leaf_hash
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import log_folder
from workers.record.published import published_checkpoint
from workers.record.retention.minimum import write_minimum
from workers.record.scrubbing.log_check import LogCheck
from workers.record.stored_entries import StoredEntries
from workers.record.volumes import VOLUME

SIZE = 301


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log of 301 entries with the items of 100 jobs: a whole block, and one of 45."""
    folder = tmp_path_factory.mktemp("state")
    writer = SegmentWriter(folder / "wal")
    for number in range(1, 101):
        append(writer, *job("acme", number))
    seal(folder)
    return log_folder(folder, "acme")


@pytest.fixture
def log(sealed: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(sealed, tmp_path / "acme")


def damage(log: Path) -> list[str]:
    """Files with damage, each once."""
    checkpoint = published_checkpoint(log)
    assert checkpoint is not None
    check = LogCheck(log, checkpoint)
    assert sum(1 for _ in check.run()) <= SIZE
    return sorted({place.file for place in check.damage})


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_a_sound_log_has_no_damage(log: Path) -> None:
    assert damage(log) == []


@pytest.mark.parametrize("name", ["entries/000000.bin", "items/000000.bin"])
def test_any_flipped_byte_is_found_in_its_file(log: Path, name: str) -> None:
    """Also in a length, behind which entries cannot be told apart any more."""
    size = (log / name).stat().st_size
    for at in range(0, size, size // 25):
        flip(log / name, at)
        assert damage(log) == [name], at
        flip(log / name, at)


@pytest.mark.parametrize(
    "name, at, blamed",
    [
        ("level0/000000.bin", 17 * 32, "level0/000000.bin"),
        ("level0/000000.bin", 300 * 32, "entries/000000.bin"),  # of the last block no hash above tells which
        ("level1.bin", 0, "level1.bin"),
    ],
)
def test_a_flipped_hash_is_found(log: Path, name: str, at: int, blamed: str) -> None:
    flip(log / name, at)
    assert damage(log) == [blamed]


@pytest.mark.parametrize("kind", ["entries", "items", "level0"])
def test_what_retention_removes_meanwhile_is_no_damage(log: Path, kind: str) -> None:
    """The check ends there; the next round begins behind it."""
    checkpoint = published_checkpoint(log)
    assert checkpoint is not None
    check = LogCheck(log, checkpoint)
    write_minimum(log, VOLUME)
    (log / kind / "000000.bin").unlink()
    assert list(check.run()) == []
    assert check.damage == []


def test_entry_and_hash_that_were_changed_together_are_found(log: Path) -> None:
    """By the root of the checkpoint, where no hash above is there."""
    *_, (_, last) = StoredEntries(log, SIZE).entries(0)
    flip(log / "entries/000000.bin", 2 - len(last))  # its time
    *_, (index, entry) = StoredEntries(log, SIZE).entries(0)
    hashes = bytearray((log / "level0/000000.bin").read_bytes())
    hashes[index * 32 :] = leaf_hash(entry)
    (log / "level0/000000.bin").write_bytes(hashes)
    assert damage(log) == ["level1.bin or checkpoint"]


@pytest.mark.parametrize(
    "name, blamed",
    [
        ("entries/000000.bin", ["entries/000000.bin"]),
        ("items/000000.bin", ["items/000000.bin"]),
        ("level0/000000.bin", ["hashes"]),
        ("level1.bin", ["hashes"]),
    ],
)
def test_a_file_that_is_gone_or_cut_is_damage(log: Path, name: str, blamed: list[str]) -> None:
    """The check reads the other files nevertheless."""
    data = (log / name).read_bytes()
    (log / name).write_bytes(data[: len(data) // 2])
    assert damage(log) == blamed
    (log / name).unlink()
    assert damage(log) == blamed
