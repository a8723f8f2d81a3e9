"""Events in the log: no claim is begun or ended by one, and readers that do not know a kind continue behind it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.farm.logged_events import events_of
from tests.support.farm.logged_jobs import intent, job
from workers.audit.job_history import histories_of
from workers.journal.damage import resync
from workers.journal.open_claims import OpenClaims
from workers.journal.records import ClaimRecord, OpenedRecord, Record, decode_record, encode_record
from workers.journal.recovery import recover
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import damage_of, frame, segment_path
from workers.record.follower import Gap, LogFollower, Place

EVENTS = events_of("acme")


def written(folder: Path, *payloads: bytes) -> Path:
    file = segment_path(folder, 1)
    file.write_bytes(b"".join(map(frame, payloads)))
    return file


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_read_as_it_was_written(kind: str) -> None:
    assert decode_record(encode_record(EVENTS[kind])) == EVENTS[kind]


@pytest.mark.parametrize("kind", EVENTS)
def test_a_reader_of_the_former_version_refuses_the_record_alone(kind: str) -> None:
    """It skips what it cannot decode: its decoder raises the error that its readers expect, and nothing else."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encode_record(EVENTS[kind]), type=OpenedRecord | ClaimRecord)


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_behind_damage_is_found_again(kind: str) -> None:
    """Its frame looks like that of a record to the search for the next whole one."""
    following = frame(encode_record(EVENTS[kind]))
    damaged = bytearray(frame(encode_record(intent("acme", 1))))
    damaged[:4] = b"\xff\xff\xff\xff"
    damaged[20] ^= 1
    found = resync(bytes(damaged) + following, 0)
    assert found.next_start == len(damaged)


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_begins_and_ends_no_claim(tmp_path: Path, kind: str) -> None:
    claims = OpenClaims()
    claims.apply(intent("acme", 1), 3)
    claims.apply(EVENTS[kind], 4)
    assert (len(claims), claims.first(7)) == (1, 3)
    written(tmp_path, encode_record(intent("acme", 1)), encode_record(EVENTS[kind]))
    assert len(recover(tmp_path).unknown) == 1


def test_records_of_a_later_version_cost_nothing_but_themselves(tmp_path: Path) -> None:
    """Recovery, the follower of the record and the history of a job read on behind them, and none is damage: the record has gaps."""
    later = msgspec.msgpack.encode(["Levitation", 1, "acme", b"job1", {"a": 1}])
    first, *rest = [encode_record(record) for record in job("acme", 1)]
    file = written(tmp_path, first, later, *rest, later)
    recovered = recover(tmp_path)
    assert (recovered.unknown, recovered.unreleased, recovered.damage) == ([], [], [])
    assert damage_of(file) == []
    events = histories_of(tmp_path, [b"job1"], since_s=0.0).events[b"job1"]
    assert [event.what for event in events] == ["intent", "outcome", "committed"]
    file.with_name("000000000002.wal").write_bytes(frame(encode_record(OpenedRecord(1, 2))))
    follower = LogFollower(tmp_path, Place())
    read = list(follower.records(100))
    assert [each.reason for each in read if isinstance(each, Gap)] == ["later", "later"]
    assert len(read) == 5


def test_the_writer_takes_events_between_jobs(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    records: list[Record] = [intent("acme", 1), *EVENTS.values(), *job("acme", 1)[1:]]
    writer.append(b"".join(frame(encode_record(record)) for record in records), records)
    assert writer.first_open == 1
    assert recover(tmp_path).unknown == []
