"""Spool of events: any command writes beside a worker, and a wrong file costs itself."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import msgspec
import pytest

from queueing.files.drafts import DRAFT_SUFFIX
from queueing.files.regular_file import read_regular
from workers.journal import event_spool as module
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.journal.records import UnknownRecord


def test_events_wait_in_the_order_of_their_time(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path)
    records = [KeyRecord(number, "acme", "created", f"key-{number}") for number in (9, 10, 100)]
    for record in reversed(records):
        spool.put(record)
    assert [record for events in spool.waiting() for record in events.records] == records
    assert len(spool) == 3


def test_two_events_of_one_moment_both_wait(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path)
    for _ in range(2):
        spool.put(KeyRecord(1, "acme", "created", "release"))
    assert len(spool.waiting()) == 2


def test_an_event_is_its_owners_alone(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path)
    spool.put(KeyRecord(1, "acme", "created", "release"))
    (event,) = spool.waiting()
    assert stat.S_IMODE(event.path.stat().st_mode) == 0o600


def test_a_spool_that_was_never_used_is_empty(tmp_path: Path) -> None:
    assert EventSpool(tmp_path).waiting() == []


def test_a_removed_event_waits_no_longer(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path)
    spool.put(KeyRecord(1, "acme", "created", "release"))
    spool.remove(spool.waiting()[0])
    assert spool.waiting() == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[1]",
        msgspec.msgpack.encode([UnknownRecord(1, "acme", b"job", b"w:1")]),
        b"\x91" * 5000,
    ],
    ids=["empty", "other", "text", "another-record", "nested"],
)
def test_a_file_that_is_no_event_is_named_and_kept(tmp_path: Path, data: bytes) -> None:
    """Records of jobs, too: a command could otherwise end another worker's claim."""
    spool = EventSpool(tmp_path)
    spool.put(KeyRecord(2, "acme", "created", "release"))
    (tmp_path / "events" / "000000000000001-0.event").write_bytes(data)
    wrong, right = spool.waiting()
    assert (wrong.records, len(right.records)) == ((), 1)
    spool.refuse(wrong)
    assert [event.path for event in spool.waiting()] == [right.path]
    assert (tmp_path / "events" / "000000000000001-0.unreadable").read_bytes() == data


def test_a_pipe_or_a_folder_between_the_events_is_no_event(tmp_path: Path) -> None:
    """Neither blocks the worker."""
    spool = EventSpool(tmp_path)
    spool.put(KeyRecord(2, "acme", "created", "release"))
    os.mkfifo(tmp_path / "events" / "0.event")  # before the event in their order
    (tmp_path / "events" / "1.event").mkdir()
    (tmp_path / "events" / "2.event").write_bytes(bytes(70_000))
    assert [len(events.records) for events in spool.waiting()] == [0, 1, 0, 0]
    assert not any(event.error for event in spool.waiting())


def test_a_draft_of_a_command_that_was_killed_is_no_event(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    for name in (".0.event", f".1.event.x{DRAFT_SUFFIX}"):
        (tmp_path / "events" / name).write_bytes(b"half")
    assert EventSpool(tmp_path).waiting() == []


def test_an_event_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an event of"):
        EventSpool(tmp_path).put(KeyRecord(1, "acme", "set", "release", changed=("x" * 70_000,)))
    assert not (tmp_path / "events").exists()


def test_a_file_that_cannot_be_read_now_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no wrong event: it waits with its error."""
    spool = EventSpool(tmp_path)
    spool.put(KeyRecord(1, "acme", "created", "release"))
    spool.put(KeyRecord(2, "acme", "retired", "release"))

    def fails_once(file: Path, *, largest_bytes: int) -> bytes:
        if file.name.startswith("000000000000001"):
            raise OSError(errno.EIO, "Input/output error")
        return read_regular(file, largest_bytes=largest_bytes)

    monkeypatch.setattr(module, "read_regular", fails_once)
    failed, read = spool.waiting()
    assert (failed.records, failed.error is None) == ((), False)
    assert read.records == (KeyRecord(2, "acme", "retired", "release"),)


def test_many_events_are_in_few_files(tmp_path: Path) -> None:
    """As of the first start with thousands of tenants; none is lost."""
    spool = EventSpool(tmp_path)
    records = [
        KeyRecord(1, f"tenant-{n:05d}", "created", "release", changed=("x" * 200,)) for n in range(1000)
    ]
    spool.put(*records)
    assert 2 <= len(spool) <= 10
    found = [record for events in spool.waiting() for record in events.records]
    assert sorted(found, key=lambda record: record.tenant) == records
    files = spool.waiting()
    spool.put()
    assert spool.waiting() == files
