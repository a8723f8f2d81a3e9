"""Pipes, sockets and devices in the folders of a record and of its write-ahead log: none is waited for, and each costs itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from queueing.files.checked_file import read_checked
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import run_to_end, seal, sealer
from workers.journal.acknowledged import AcknowledgedFile, read_acknowledged
from workers.journal.recovery import recover
from workers.journal.scrubbing import Scrub
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import damage_of, segments_of
from workers.journal.unreadable import read_around
from workers.record.bundle.writer import export
from workers.record.exchange import SealerStatus, read_status, write_status
from workers.record.folder import FOLDER_NAME, LOGS_NAME, read_follows, read_origin
from workers.record.published import publish_checkpoint, published_checkpoint
from workers.record.retention.marks import note_size, read_marks
from workers.record.scrubbing.scrubber import RecordScrubber
from workers.record.volumes import Position, RecordDamaged, TenantLog

pytestmark = pytest.mark.timeout(10)


def pipe(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    return file


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A sealed record of ten jobs."""
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(1, 11):
        append(writer, *job("acme", number))
    seal(tmp_path)
    return tmp_path


def acme(state: Path) -> Path:
    return state / FOLDER_NAME / LOGS_NAME / "acme"


def test_a_pipe_beside_the_segments_is_told_as_damage_and_the_log_is_read(state: Path) -> None:
    """By recovery and by the scrubber; the number in its name is not given to a segment."""
    pipe(state / "wal/000000000007.wal")
    os.mknod(state / "wal/000000000003.wal", stat.S_IFSOCK | 0o600)
    sound = recover(state / "wal")
    told = [
        "000000000003.wal: cannot be read from offset 0, or is not a regular file",
        "000000000007.wal: cannot be read from offset 0, or is not a regular file",
    ]
    assert [str(place) for place in sound.damage] == told
    scrub = Scrub(state / "wal", in_use="")
    while scrub.read(1 << 30):
        pass
    assert ([str(place) for place in scrub.damage], scrub.names) == (told, {"000000000001.wal"})
    append(SegmentWriter(state / "wal"), *job("acme", 11))
    assert [file.name for file in segments_of(state / "wal")] == ["000000000001.wal", "000000000008.wal"]


def test_the_record_is_sealed_on_beside_a_pipe_among_the_segments(state: Path) -> None:
    """The sealer reads what is there."""
    pipe(state / "wal/000000000007.wal")
    append(SegmentWriter(state / "wal"), *job("acme", 11))
    writer = sealer(state)
    run_to_end(writer)
    assert writer.entries["acme"] > 31


def test_no_reader_waits_for_a_pipe_that_takes_the_place_of_a_file_meanwhile(tmp_path: Path) -> None:
    """After the folder was listed."""
    file = pipe(tmp_path / "000000000001.wal")
    with pytest.raises(OSError, match="not a regular file"):
        damage_of(file)
    with pytest.raises(OSError, match="not a regular file"):
        read_around(file, 0, None, [])


def test_what_is_durable_is_neither_written_to_nor_read_from_a_pipe(tmp_path: Path) -> None:
    """A worker that waited there would sign nothing."""
    pipe(tmp_path / "acknowledged")
    with pytest.raises(OSError, match="not a regular file"):
        AcknowledgedFile(tmp_path).write(1, 2)
    with pytest.raises(OSError, match="not a regular file"):
        read_acknowledged(tmp_path)


def test_the_scrubber_names_what_is_no_file_and_checks_the_rest(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside the statements, behind the last volume, and anywhere else below a log."""
    log = acme(state)
    pipe(log / "statements/00-key")
    pipe(log / "items/000009.bin")
    os.mknod(log / "socket", stat.S_IFSOCK | 0o600)
    scrubber = RecordScrubber(log.parent)
    scrubber.read(60.0)
    assert scrubber.damage == (
        "acme/items/000009.bin: not a regular file",
        "acme/socket: not a regular file",
        "acme/statements/00-key: not a regular file",
    )
    assert scrubber.entries == 31


def test_an_export_leaves_out_what_is_no_file(state: Path, tmp_path: Path) -> None:
    """The bundle is whole."""
    log = acme(state)
    pipe(log / "statements/00-key")
    pipe(log / "items/000009.bin")
    assert export(log, tmp_path / "out").end == 31
    assert list((tmp_path / "out").rglob("00-key")) == []


@pytest.mark.parametrize(
    "name", ["entries/000000.bin", "items/000000.bin", "level0/000000.bin", "checkpoint"]
)
def test_an_export_does_not_wait_for_a_pipe_in_the_place_of_a_file(
    state: Path, tmp_path: Path, name: str
) -> None:
    """It says which one is no file."""
    pipe(acme(state) / name)
    with pytest.raises(OSError, match="not a regular file"):
        export(acme(state), tmp_path / "out")


def test_a_head_that_is_no_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """And no damage, for which the record would be given up: an operator can remove it, or bring the file back."""
    for name, read in (
        ("checkpoint", published_checkpoint),
        ("origin", lambda folder: read_origin(folder, "log", "1", {})),
        ("follows", read_follows),
    ):
        pipe(tmp_path / name)
        with pytest.raises(OSError, match=f"not a regular file.*{name}"):
            read(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        read_checked(pipe(tmp_path / "sealed"))


def test_a_pipe_in_the_place_of_a_draft_is_replaced(tmp_path: Path) -> None:
    """Of a checkpoint, and of the sealer's status: neither loses anything."""
    pipe(tmp_path / "checkpoint.new")
    publish_checkpoint(tmp_path, b"note")
    assert (tmp_path / "checkpoint").read_bytes() == b"note"
    pipe(tmp_path / "sealer/new")
    write_status(tmp_path, SealerStatus(pid=1, started_ns=0))
    assert read_status(tmp_path) is not None


def test_a_pipe_in_the_place_of_the_marks_costs_the_marks(tmp_path: Path) -> None:
    """None are read, and the search for old volumes tells why none are kept."""
    pipe(tmp_path / "marks")
    assert read_marks(tmp_path) == []
    with pytest.raises(OSError, match="not a regular file"):
        note_size(tmp_path, 1, 1)


def test_a_pipe_where_a_volume_begins_is_removed_and_one_in_place_of_sealed_bytes_is_damage(
    tmp_path: Path,
) -> None:
    """A sealer that begins cuts its files; one that writes meets an error, and begins again."""
    file = pipe(tmp_path / "entries/000000.bin")
    log = TenantLog(tmp_path)
    log.append(b"entry")
    with pytest.raises(OSError, match="not a regular file"):
        log.write()
    pipe(tmp_path / "level3.bin")
    TenantLog(tmp_path).cut()
    assert not file.exists()
    assert not (tmp_path / "level3.bin").exists()
    pipe(file)
    pipe(tmp_path / "level0/000000.bin")
    with pytest.raises(RecordDamaged, match="0 bytes, and 32 were synced"):
        TenantLog(tmp_path, Position(size=1, subtrees=[b"\0" * 32], entry_bytes=7, item_bytes=0)).cut()
