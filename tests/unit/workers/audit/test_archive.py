"""A copy of a sealed log is the log that was sealed, or it has no seal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.unit.workers.journal.test_recovery import intent, outcome, released, returned, write
from workers.audit.archive import ArchiveDiffers, archive
from workers.audit.seal import SEAL_NAME, Seal, seal


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "wal"
    folder.mkdir()
    write(folder, intent(b"a"), outcome(b"a"), released(b"a"))
    write(folder, intent(b"b"), returned(b"b"), number=2)
    return folder


@pytest.fixture
def made(log: Path) -> Seal:
    return seal(log)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_archive_has_every_segment_and_the_seal(log: Path, made: Seal, tmp_path: Path) -> None:
    archive(log, made, tmp_path / "kept" / "host-1")
    assert contents(tmp_path / "kept" / "host-1") == contents(log)


def test_an_interrupted_archive_is_completed(
    log: Path, made: Seal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its seal until it is whole; what is there and right is not copied again."""
    copied: list[str] = []

    def copy_one(source: BinaryIO, to: BinaryIO) -> None:
        if copied:
            raise OSError(28, "No space left on device")
        copied.append(Path(source.name).name)
        to.write(source.read())

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", copy_one)
        with pytest.raises(OSError, match="No space"):
            archive(log, made, tmp_path / "kept")
    assert (tmp_path / "kept" / copied[0]).exists()
    assert not (tmp_path / "kept" / SEAL_NAME).exists()
    copy, again = shutil.copyfileobj, list[str]()

    def noted(source: BinaryIO, to: BinaryIO) -> None:
        again.append(Path(source.name).name)
        copy(source, to)

    monkeypatch.setattr(shutil, "copyfileobj", noted)
    archive(log, made, tmp_path / "kept")
    assert contents(tmp_path / "kept") == contents(log)
    assert again == [made.segments[1].name, SEAL_NAME]


def test_another_logs_segment_is_not_written_over(log: Path, made: Seal, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / made.segments[1].name).write_bytes(b"of another host")
    with pytest.raises(ArchiveDiffers, match=made.segments[1].name):
        archive(log, made, kept)
    assert (kept / made.segments[1].name).read_bytes() == b"of another host"
    assert not (kept / SEAL_NAME).exists()


def test_a_copy_that_went_wrong_has_no_seal(
    log: Path, made: Seal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read back."""
    monkeypatch.setattr(shutil, "copyfileobj", lambda source, to: to.write(source.read()[:-1]))
    with pytest.raises(ArchiveDiffers):
        archive(log, made, tmp_path / "kept")
    assert not (tmp_path / "kept" / SEAL_NAME).exists()
