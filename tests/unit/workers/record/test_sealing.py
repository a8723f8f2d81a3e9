"""The sealing loop goes on whatever the disk does, and never signs another past."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queueing.aio.backoff import Backoff
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.entries import OpenedEntry, decode_entry
from queueing.transparency.notes import read_note
from tests.support.farm.logged_jobs import append, intent, job
from tests.support.farm.long_logs import SIZE, long_log
from tests.unit.workers.record.test_sealer import entries
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame, read_frames, segments_of
from workers.record.exchange import Head, StatementRequests, read_status
from workers.record.folder import FOLDER_NAME, log_folder, read_follows, sealed_segments
from workers.record.heads.set_back import SetBack, read_set_back, tell_set_back
from workers.record.pruning import Pruning
from workers.record.replacement import finish_replacement, former_records, give_up
from workers.record.retention.marks import DAY_MS, note_size
from workers.record.retention.marks import FILE_NAME as MARKS
from workers.record.retention.minimum import read_minimum
from workers.record.retention.policy import adopt_policy
from workers.record.sealing import SealingLoop
from workers.record.volumes import VOLUME

CALLS = ("open", "write", "fdatasync", "fsync", "replace", "mkdir", "pread", "truncate")


class Stop(threading.Event):
    """Is set when it was waited for so often, without waiting."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        self._waits -= 1
        if self._waits <= 0:
            self.set()
        return self.is_set()


class Calls:
    """Calls of one function of ``os`` on files of the record; the one with the number ``fails`` raises ``error``."""

    def __init__(self, name: str, fails: int = 0, error: int = errno.EIO) -> None:
        self._real: Callable[..., Any] = getattr(os, name)
        self._fails = fails
        self._error = error
        self.count = 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self._is_ours(args[0]):
            self.count += 1
            if self.count == self._fails:
                raise OSError(self._error, os.strerror(self._error))
        return self._real(*args, **more)

    @staticmethod
    def _is_ours(subject: Any) -> bool:
        path = os.fspath(Path(f"/proc/self/fd/{subject}").readlink() if isinstance(subject, int) else subject)
        return f"/{FOLDER_NAME}" in path


def seal(state_dir: Path, *, waits: int = 6) -> None:
    loop = SealingLoop(
        state_dir, log_name="sigmill/prod", build="1.0", backoff=Backoff(first_s=0.0, most_s=0.0)
    )
    loop.run(Stop(waits))


def checkpoint(state_dir: Path, tenant: str = "acme") -> Checkpoint:
    return read_checkpoint(read_note((log_folder(state_dir, tenant) / "checkpoint").read_bytes()).text)


def content(state_dir: Path) -> dict[str, bytes]:
    """Everything but signatures and the place: these are of a process."""
    folder = state_dir / FOLDER_NAME
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.suffix == ".bin"
    }


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    writer = SegmentWriter(folder / "wal")
    append(writer, *job("acme", 1))
    append(writer, intent("globex", 2), *job("acme", 3))
    (folder / FOLDER_NAME).mkdir()
    (folder / FOLDER_NAME / "origin").write_text("ab" * 64 + " 1.0\n")
    return folder


@pytest.fixture
def copies(state_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        shutil.copytree(state_dir, tmp_path / name)
        return tmp_path / name

    return copy


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", CALLS)
def test_each_call_fails_once_and_nothing_is_lost_or_changed(
    copies: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    """Also in ``keep``, at the end: what it did not make durable is made again from the write-ahead log."""
    clean = copies("clean")
    counted = Calls(call)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, counted)
        seal(clean)
    for number in range(1, counted.count + 1):
        state = copies(f"{call}-{number}")
        with monkeypatch.context() as patched:
            patched.setattr(os, call, Calls(call, number, error))
            seal(state)
        seal(state)  # what was to be kept at the end, if that failed
        assert content(state) == content(clean), number
        for tenant in ("acme", "globex"):
            assert checkpoint(state, tenant) == checkpoint(clean, tenant), number
        assert former_records(state) == [], "no failure of the disk is damage"


def test_a_record_of_which_no_entry_can_be_made_is_counted_and_told_once(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the disk fails later, and the record is read again."""
    writer = SegmentWriter(state_dir / "wal")
    append(writer, msgspec.structs.replace(intent("acme", 5), attempt=-1), *job("acme", 6))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", Calls("fdatasync", 1, errno.EIO))
        seal(state_dir)
    status = read_status(state_dir)
    assert status is not None
    assert status.failures == {"unexpected": 1, "io": 1}
    (told,) = [record for record in caplog.records if record.getMessage() == "record.skipped"]
    assert (told.__dict__["records"], told.__dict__["kind"]) == (1, "IntentRecord")
    assert former_records(state_dir) == []


def test_a_record_of_a_later_version_is_counted_and_told_once(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where what was read of it cannot be kept, and is read again."""
    later = frame(msgspec.msgpack.encode(["Later", 5, "acme"]))
    writer = SegmentWriter(state_dir / "wal")
    append(writer, *job("acme", 5))
    writer.append(later, ())
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", Calls("fdatasync", 1, errno.EIO))
        seal(state_dir)
    status = read_status(state_dir)
    assert status is not None
    assert status.failures == {"later": 1, "io": 1}
    (told,) = [record for record in caplog.records if record.getMessage() == "record.later"]
    assert (told.__dict__["records"], told.__dict__["segment"]) == (1, 2)
    (end, _) = list(read_frames(segments_of(state_dir / "wal")[1]))[-1]
    assert told.__dict__["offset"] == end - len(later)
    assert former_records(state_dir) == []


def test_a_failing_disk_is_told_with_its_reason(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", Calls("write", 1, errno.ENOSPC))
        seal(state_dir)
    status = read_status(state_dir)
    assert status is not None
    assert status.failures == {"disk_full": 1}
    assert "record.failed" in [record.getMessage() for record in caplog.records]


def test_a_file_that_cannot_be_read_is_named_to_the_operator(
    state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seal(state_dir)
    file = state_dir / FOLDER_NAME / "sealed"
    file.unlink()
    file.mkdir()
    seal(state_dir, waits=1)
    (told,) = (record for record in caplog.records if record.getMessage() == "record.failed")
    assert (told.__dict__["file"], told.__dict__["errno"]) == (str(file), errno.EISDIR)


def test_a_rotten_byte_of_the_record_is_in_the_status_and_ends_nothing(
    state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The scrubber has a share of each second of the loop; the log that was signed stays as it is."""
    seal(state_dir)
    file = log_folder(state_dir, "acme") / "items/000000.bin"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    seal(state_dir)
    status = read_status(state_dir)
    assert status is not None
    assert [place.split(":")[0] for place in status.damage] == ["acme/items/000000.bin"]
    assert status.scrubbed > 0
    assert "record.rotten" in [record.getMessage() for record in caplog.records]
    assert former_records(state_dir) == []


def test_the_status_tells_entries_once_whatever_was_read_again(state_dir: Path) -> None:
    for _ in range(2):
        seal(state_dir)
    status = read_status(state_dir)
    assert status is not None
    assert status.entries == {}
    assert status.covered_ns is not None
    assert len(StatementRequests(state_dir)) == 2, "one for each tenant, of the last process only"


def test_a_damaged_record_is_kept_and_a_new_one_follows_it(state_dir: Path) -> None:
    seal(state_dir)
    before = checkpoint(state_dir)
    file = log_folder(state_dir, "acme") / "entries" / "000000.bin"
    os.truncate(file, file.stat().st_size - 1)
    seal(state_dir)
    (former,) = former_records(state_dir)
    assert (former / "logs" / "acme" / "checkpoint").is_file()
    after = checkpoint(state_dir)
    assert after.origin != before.origin
    assert after.size == before.size, "all that the write-ahead log still has is in the new one, too"
    opened = decode_entry(_first_entry(state_dir))
    assert isinstance(opened, OpenedEntry)
    assert opened.follows == before.origin
    (request,) = [each for each in StatementRequests(state_dir).waiting() if each.tenant == "acme"]
    assert request.follows is not None
    assert (request.follows.origin, request.follows.size, request.follows.root) == (
        before.origin,
        before.size,
        before.root,
    )
    status = read_status(state_dir)
    assert status is not None
    assert (status.failures, status.former) == ({"damaged": 1}, 1)


def test_a_write_ahead_log_that_was_set_back_is_damage(state_dir: Path, tmp_path: Path) -> None:
    """Its newest segment is older than the one up to which it was sealed."""
    shutil.copytree(state_dir / "wal", tmp_path / "backup")
    writer = SegmentWriter(state_dir / "wal")
    append(writer, *job("acme", 7))
    seal(state_dir)
    size = checkpoint(state_dir).size
    shutil.rmtree(state_dir / "wal")
    shutil.copytree(tmp_path / "backup", state_dir / "wal")
    seal(state_dir)
    assert len(former_records(state_dir)) == 1
    assert checkpoint(state_dir).size < size


def test_a_write_ahead_log_that_was_set_back_and_has_grown_again_is_damage(
    state_dir: Path, tmp_path: Path
) -> None:
    """Also where it is as long as the one that was read: what came after the copy would be missing without a word."""
    shutil.copytree(state_dir / "wal", tmp_path / "backup")
    append(SegmentWriter(state_dir / "wal", clock_s=lambda: 1.0), *job("acme", 7))
    seal(state_dir)
    shutil.rmtree(state_dir / "wal")
    shutil.copytree(tmp_path / "backup", state_dir / "wal")
    append(SegmentWriter(state_dir / "wal", clock_s=lambda: 2.0), *job("acme", 8))
    seal(state_dir)
    assert len(former_records(state_dir)) == 1


def test_a_segment_that_is_gone_before_it_was_sealed_is_damage(state_dir: Path) -> None:
    seal(state_dir)
    for file in (state_dir / "wal").glob("*.wal"):
        file.unlink()
    seal(state_dir)
    assert len(former_records(state_dir)) == 1


def test_another_name_of_the_logs_begins_another_record(state_dir: Path) -> None:
    seal(state_dir)
    loop = SealingLoop(state_dir, log_name="renamed", build="1.0", backoff=Backoff(first_s=0.0, most_s=0.0))
    loop.run(Stop(4))
    assert len(former_records(state_dir)) == 1
    assert checkpoint(state_dir).origin.startswith("renamed/acme/")


def test_an_empty_checkpoint_after_a_power_cut_is_no_damage(state_dir: Path) -> None:
    """It is not synced; what it covered is in the write-ahead log."""
    seal(state_dir)
    size = checkpoint(state_dir).size
    (log_folder(state_dir, "acme") / "checkpoint").write_bytes(bytes(100))
    seal(state_dir)
    assert former_records(state_dir) == []
    assert checkpoint(state_dir).size == size


def test_a_crash_between_the_two_renames_is_finished(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(state_dir)
    origin = checkpoint(state_dir).origin

    class Crash(Exception):
        pass

    real, renames = os.rename, []

    def rename(*args: Any, **more: Any) -> None:
        renames.append(args)
        if len(renames) == 2:
            raise Crash
        real(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        with pytest.raises(Crash):
            give_up(state_dir)
    assert not (state_dir / FOLDER_NAME).exists()
    finish_replacement(state_dir)
    seal(state_dir)
    opened = decode_entry(_first_entry(state_dir))
    assert isinstance(opened, OpenedEntry)
    assert opened.follows == origin


def test_retention_may_remove_only_what_is_sealed(state_dir: Path) -> None:
    assert sealed_segments(state_dir).below == 0
    append(SegmentWriter(state_dir / "wal"), *job("acme", 9))
    seal(state_dir)
    assert sealed_segments(state_dir).below == 2
    (state_dir / FOLDER_NAME / "sealed").write_bytes(b"\xc1")
    assert sealed_segments(state_dir).below == 0


def test_the_sealer_removes_what_is_old_by_the_policy_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and where the oldest entry is; the next start continues the log."""
    caplog.set_level("INFO", logger="sigmill.record")
    folder = long_log(tmp_path)
    seal(tmp_path)
    assert read_minimum(folder) == 0
    noted = note_size(folder, 0, 0)[0]
    (folder / MARKS).unlink()
    note_size(folder, noted.record_ms - 731 * DAY_MS, SIZE)
    seal(tmp_path)
    assert read_minimum(folder) == 0, "without a policy nothing goes"
    adopt_policy(tmp_path / "sealer", 730, {})
    seal(tmp_path)
    assert read_minimum(folder) == 2 * VOLUME
    (line,) = [record for record in caplog.records if record.msg == "record.pruned"]
    assert (line.tenant, line.removed, line.minimum) == ("acme", 2 * VOLUME, 2 * VOLUME)  # type: ignore[attr-defined]
    status = read_status(tmp_path)
    assert status is not None
    assert (status.removed, status.oldest_ms) == (2 * VOLUME, 2)
    seal(tmp_path)
    assert former_records(tmp_path) == []


def test_a_disk_on_which_nothing_can_be_removed_stops_no_sealing(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    adopt_policy(state_dir / "sealer", 730, {})

    def fails(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Pruning, "run", fails)
    seal(state_dir)
    assert [record.msg for record in caplog.records if record.levelname == "WARNING"] == ["record.not_pruned"]
    status = read_status(state_dir)
    assert status is not None
    assert status.failures == {}


def test_a_folder_of_the_record_that_cannot_be_read_costs_a_measurement_alone(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As `lost+found` of root, where the record has a disk of its own."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "record/lost+found")

    monkeypatch.setattr("workers.record.replacement.entries_below", refused)
    seal(state_dir)
    assert [record.msg for record in caplog.records if record.levelname == "WARNING"] == [
        "record.not_measured"
    ]
    status = read_status(state_dir)
    assert status is not None
    assert (status.failures, status.checkpoints) == ({}, 2)


@pytest.mark.parametrize("name", ["acme\udcff", "acme (copy)", "ACME", "lost+found"])
def test_a_folder_that_no_tenant_can_have_is_not_ours(state_dir: Path, name: str) -> None:
    """A person keeps a copy of a log beside it: it stays as it is, and what is sealed is the same."""
    seal(state_dir)
    logs = log_folder(state_dir, "acme").parent
    copy = shutil.copytree(logs / "acme", logs / name)
    (copy / "items" / "000000.bin").write_bytes(b"damaged")
    before = checkpoint(state_dir)
    seal(state_dir)
    assert former_records(state_dir) == []
    assert checkpoint(state_dir) == before
    assert (copy / "items" / "000000.bin").read_bytes() == b"damaged"
    status = read_status(state_dir)
    assert status is not None
    assert (status.failures, status.damage) == ({}, ())
    give_up(state_dir)
    assert set(read_follows(state_dir / FOLDER_NAME)) == {"acme", "globex"}


def _first_entry(state_dir: Path) -> bytes:
    return entries(state_dir, "acme")[0]


def test_a_record_that_the_worker_calls_an_older_copy_is_given_up_for_one_that_follows_the_known_head(
    state_dir: Path,
) -> None:
    """At the head that the worker knows, which the older copy does not have; of other tenants at the one that is here."""
    seal(state_dir)
    here = checkpoint(state_dir, "globex")
    known = Head(origin=checkpoint(state_dir).origin, size=30, root=b"r" * 32)
    tell_set_back(state_dir, SetBack(name=known.origin[-16:], why="an older copy", heads={"acme": known}))
    seal(state_dir)
    assert checkpoint(state_dir).origin != known.origin
    assert read_follows(state_dir / FOLDER_NAME) == {"acme": known, "globex": Head.of(here)}
    requests = {request.tenant: request.follows for request in StatementRequests(state_dir).waiting()}
    assert requests == {"acme": known, "globex": Head.of(here)}
    assert read_set_back(state_dir) is None
    status = read_status(state_dir)
    assert status is not None
    assert (status.former, status.failures) == (1, {"damaged": 1})
    seal(state_dir)
    assert len(former_records(state_dir)) == 1


def test_nothing_is_signed_under_the_name_of_a_record_that_is_to_be_given_up(state_dir: Path) -> None:
    """Also where another record was given up a moment ago, so that this one waits for its turn."""
    seal(state_dir)
    before = checkpoint(state_dir)
    tell_set_back(state_dir, SetBack(name=before.origin[-16:], why="an older copy", heads={}))
    writer = SegmentWriter(state_dir / "wal")
    append(writer, *job("acme", 9))
    loop = SealingLoop(
        state_dir, log_name="sigmill/prod", build="1.0", backoff=Backoff(first_s=0.0, most_s=0.0)
    )
    loop._replaced_at = loop._clock_s()
    loop.run(Stop(4))
    assert checkpoint(state_dir) == before
