"""What the host's log has lost is told in the logs of the tenants, and always in the same bytes."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from queueing.errors import ClientRevoked
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, encode_result
from queueing.transparency.entries import CanaryEntry, Entry, decode_entry
from queueing.transparency.event_entries import GapEntry, WithoutIntentEntry
from tests.support.farm.logged_jobs import append, intent, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from tests.unit.workers.record.test_sealer import (
    canary,
    canary_outcome,
    content,
    entries,
    wrong_records,
)
from workers.journal.acknowledged import AcknowledgedFile
from workers.journal.damage import Damage
from workers.journal.records import (
    OutcomeRecord,
    Record,
    ReturnedRecord,
    UnknownRecord,
    decode_record,
    encode_record,
)
from workers.journal.recovery import recover
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame, read_frames, segments_of
from workers.record import follower
from workers.record.folder import Origin, sealed_segments
from workers.record.follower import Gap
from workers.record.gaps import told as module
from workers.record.gaps.told import ToldGaps
from workers.record.open_intents import OpenIntents, Snapshot
from workers.record.sequencer import Sequencer

ORIGIN = Origin(log_name="sigmill/prod", name="0" * 16, secret=bytes(32), build="1.0")
REFUSED = encode_result(
    ArqResult(et=1, s=False, r=WireError.of(ClientRevoked()), k=ResultHints(), st=1, ft=1, q="q", id="job1")
)
LOST = 5
"""Frame that is damaged: the intent of the third job, behind the head and four records of jobs of two tenants."""

Spoil = Callable[[bytearray, list[int]], None]
"""Damages a segment; ends of its frames."""


def _payload(data: bytearray, ends: list[int]) -> None:
    data[ends[LOST - 1] + 20] ^= 1


def _checksum(data: bytearray, ends: list[int]) -> None:
    data[ends[LOST - 1] + 5] ^= 1


def _longer(data: bytearray, ends: list[int]) -> None:
    data[ends[LOST - 1] + 2] ^= 1
    data[ends[LOST - 1] + 20] ^= 1


def _shorter(data: bytearray, ends: list[int]) -> None:
    data[ends[LOST - 1] + 3] ^= data[ends[LOST - 1] + 3] & 0x0F
    data[ends[LOST - 1] + 20] ^= 1


def _two_records(data: bytearray, ends: list[int]) -> None:
    _payload(data, ends)
    data[ends[LOST] + 20] ^= 1


def _zeros(data: bytearray, ends: list[int]) -> None:
    data[ends[LOST - 1] - 4 : ends[LOST] + 4] = bytes(8 + ends[LOST] - ends[LOST - 1])


SPOILS = [_payload, _checksum, _longer, _shorter, _two_records, _zeros]


def frame_ends(file: Path) -> list[int]:
    return [end for end, _ in read_frames(file)]


def spoiled(state_dir: Path, spoil: Spoil) -> list[int]:
    """Damage the first segment; returns the ends of its frames before."""
    file = segments_of(state_dir / "wal")[0]
    ends, data = frame_ends(file), bytearray(file.read_bytes())
    spoil(data, ends)
    file.write_bytes(data)
    return ends


def told(state_dir: Path, tenant: str) -> list[Entry | None]:
    found = [decode_entry(entry) for entry in entries(state_dir, tenant)]
    return [entry for entry in found if isinstance(entry, GapEntry | WithoutIntentEntry)]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    writer = SegmentWriter(state / "wal")
    append(writer, *job("acme", 1), intent("globex", 2))
    append(writer, *job("acme", 3), *job("globex", 4))
    (state / "record").mkdir()
    (state / "record" / "origin").write_text("ab" * 64 + " 1.0\n")
    return state


def test_a_damaged_record_is_told_in_every_log_with_its_place(state_dir: Path) -> None:
    """Nobody can tell whose it was. Its tenant's log also has that signatures lack their intent."""
    ends = spoiled(state_dir, _payload)
    run_to_end(sealer(state_dir))
    gap = GapEntry(at_ms=2, segment=1, first=ends[LOST - 1], end=ends[LOST], reason="damaged", more=False)
    outcome = WithoutIntentEntry(
        at_ms=3, what="outcome", key="release", key_version=1, public_key_sha256=bytes(32), signed=1
    )
    assert told(state_dir, "acme") == [gap, outcome]
    assert told(state_dir, "globex") == [gap]


def test_a_record_of_which_only_the_length_was_wrong_is_lost_to_nobody(state_dir: Path) -> None:
    def length(data: bytearray, ends: list[int]) -> None:
        data[ends[LOST - 1] + 3] ^= 1

    spoiled(state_dir, length)
    first = sealer(state_dir)
    run_to_end(first)
    assert len(first.damage) == 1
    assert told(state_dir, "acme") == told(state_dir, "globex") == []


@pytest.mark.parametrize("spoil", SPOILS)
def test_when_a_damaged_place_is_read_changes_no_byte(state_dir: Path, tmp_path: Path, spoil: Spoil) -> None:
    """A sealer reads up to any record as it becomes durable, is killed there or kept, and another one reads on."""
    ends = spoiled(state_dir, spoil)
    pristine = tmp_path / "pristine"
    shutil.copytree(state_dir, pristine)
    run_to_end(sealer(state_dir))
    whole = content(state_dir)
    assert told(state_dir, "acme")
    for number, end in enumerate(ends):
        for how in ("killed", "kept", "runs on"):
            again = tmp_path / f"{number} {how}"
            shutil.copytree(pristine, again)
            AcknowledgedFile(again / "wal").write(1, end)
            first = sealer(again)
            run_to_end(first)
            if how == "kept":
                first.keep()
            AcknowledgedFile(again / "wal").write(1, ends[-1])
            run_to_end(first if how == "runs on" else sealer(again))
            assert content(again) == whole, (end, how)


def test_damage_at_the_end_of_a_segment_is_told_when_the_next_one_begins(state_dir: Path) -> None:
    """How far it reaches is not known before; it is told once."""

    def last(data: bytearray, ends: list[int]) -> None:
        data[ends[-2] + 20] ^= 1

    ends = spoiled(state_dir, last)
    running = sealer(state_dir)
    for _ in range(2):
        run_to_end(running)
        running.keep()
        assert told(state_dir, "globex") == []
        assert running.damage == []
    append(SegmentWriter(state_dir / "wal"), *job("acme", 9))
    for restarted in (False, True):
        again = sealer(state_dir) if restarted else running
        run_to_end(again)
        again.keep()
        (gap,) = told(state_dir, "globex")
        assert isinstance(gap, GapEntry)
        assert (gap.segment, gap.first, gap.end) == (1, ends[-2], ends[-1])
    assert len(running.damage) == 1
    assert sealed_segments(state_dir).incomplete == {1}


def test_damage_at_the_end_of_a_segment_in_use_is_read_again_when_there_is_more_behind_it(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search through up to 64 MiB; a host that is idle would repeat it each second."""
    file = segments_of(state_dir / "wal")[0]
    damaged = frame(encode_record(intent("acme", 5)))[:-1] + b"!"
    file.write_bytes(file.read_bytes() + damaged)
    acknowledged = AcknowledgedFile(state_dir / "wal")
    acknowledged.write(1, file.stat().st_size)
    read: list[int] = []

    def counted(
        path: Path, damage: list[Damage], *, start: int, end: int | None, around: list[range] | None
    ) -> object:
        read.append(start)
        return read_frames(path, damage, start=start, end=end, around=around)

    monkeypatch.setattr(follower, "read_frames", counted)
    running = sealer(state_dir)
    for _ in range(3):
        run_to_end(running)
    first, end = frame_ends(file)[-1], file.stat().st_size
    assert first == end - len(damaged)
    assert len(read) == 1
    file.write_bytes(file.read_bytes() + frame(encode_record(intent("acme", 6))))
    acknowledged.write(1, file.stat().st_size)
    run_to_end(running)
    assert read[1] == first
    (gap,) = told(state_dir, "globex")
    assert isinstance(gap, GapEntry)
    assert (gap.first, gap.end) == (first, end)


def test_of_a_segment_with_many_damaged_places_the_first_are_told_and_that_there_are_more(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart between them does not count anew; the next segment does."""
    monkeypatch.setattr(module, "MOST_GAPS", 2)

    def many(data: bytearray, ends: list[int]) -> None:
        for number in (4, 6, 8):
            data[ends[number - 1] + 20] ^= 1

    ends = spoiled(state_dir, many)
    AcknowledgedFile(state_dir / "wal").write(1, ends[5])
    first = sealer(state_dir)
    run_to_end(first)
    first.keep()
    AcknowledgedFile(state_dir / "wal").write(1, ends[-1])
    run_to_end(sealer(state_dir))
    gaps = [each for each in told(state_dir, "acme") if isinstance(each, GapEntry)]
    assert [(each.first, each.more) for each in gaps] == [(ends[3], False), (ends[5], True)]
    sequencer = Sequencer(ORIGIN, {"acme": 1})
    counts = [len(sequencer.add(Gap(segment, 0, 1, 7))) for segment in (1, 1, 1, 2)]
    assert counts == [1, 1, 0, 1]


@pytest.mark.parametrize("records", [pytest.param(each, id=name) for name, each in wrong_records()])
def test_a_record_of_which_no_entry_can_be_made_is_told_to_its_tenant_alone(
    tmp_path: Path, records: list[Record]
) -> None:
    """One whose tenant cannot be the name of a log is told to nobody but the operator."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1), *job("globex", 4))
    append(writer, *records)
    run_to_end(sealer(tmp_path))
    gaps = [each for each in told(tmp_path, "acme") if isinstance(each, GapEntry)]
    ends = frame_ends(segments_of(tmp_path / "wal")[0])
    lost = [(each.first, each.end, each.reason) for each in gaps]
    wrong = [(first, end, "wrong") for first, end in itertools.pairwise(ends)]
    assert all(each in wrong for each in lost)
    assert len(lost) == (1 if all(record.tenant == "acme" for record in records) else 0)  # type: ignore[union-attr]
    assert told(tmp_path, "globex") == []


@pytest.mark.parametrize(
    "record, entry",
    [
        (
            OutcomeRecord(5, "acme", b"job1", b"w:1", "", REFUSED, b"", 3),
            WithoutIntentEntry(at_ms=5, what="outcome", dropped=3, code="client.revoked"),
        ),
        (canary_outcome, WithoutIntentEntry(at_ms=5, what="canary", signed=1, code="ok")),
        (
            ReturnedRecord(5, "acme", b"job1", b"w:1", maybe_signed=True),
            WithoutIntentEntry(at_ms=5, what="returned-in-doubt"),
        ),
        (UnknownRecord(5, "acme", b"job1", b"w:1"), WithoutIntentEntry(at_ms=5, what="unknown")),
    ],
)
def test_whatever_may_have_been_signed_without_an_intent_is_told(
    record: Record, entry: WithoutIntentEntry
) -> None:
    """It begins the log of a tenant that has none; the write-ahead log keeps the rest."""
    sequencer = Sequencer(ORIGIN)
    opened, lost = sequencer.add(record)
    assert (opened.entry.kind, lost.entry) == ("opened", entry)
    assert sequencer.left_out
    assert sequencer.sizes == {"acme": 2}
    (again,) = sequencer.add(record)
    assert decode_entry(again.data) == entry


@pytest.mark.parametrize(
    "record",
    [
        OutcomeRecord(5, "acme", b"job1", b"w:1", "", REFUSED),
        ReturnedRecord(5, "acme", b"job1", b"w:1", maybe_signed=False),
        job("acme", 1)[2],
        msgspec.structs.replace(canary_outcome, tenant=""),
    ],
)
def test_what_ends_before_its_intent_unsigned_is_no_loss(record: Record) -> None:
    """A refusal has an event of its own; a canary of the service's own token is no tenant's."""
    sequencer = Sequencer(ORIGIN)
    assert sequencer.add(record) == []
    assert sequencer.sizes == {}


def test_a_canary_of_which_nobody_knows_whether_it_was_signed_is_an_entry(tmp_path: Path) -> None:
    """Its worker was killed, and the next one closes it."""
    append(SegmentWriter(tmp_path / "wal"), canary)
    left = recover(tmp_path / "wal", now_s=7.0)
    append(SegmentWriter(tmp_path / "wal", open_claims=left.open_claims), *left.unknown)
    run_to_end(sealer(tmp_path))
    found = decode_entry(entries(tmp_path, "acme")[-1])
    assert isinstance(found, CanaryEntry)
    assert (found.at_ms, found.key, found.key_version, found.outcome) == (
        7000,
        canary.key,
        canary.version,
        "unknown",
    )
    assert recover(tmp_path / "wal").unknown == []


def test_a_canary_that_a_former_version_has_closed_gives_the_same_bytes_as_there() -> None:
    """It has no entry: the log of a former version, read again, would otherwise be another one."""
    sequencer = Sequencer(ORIGIN)
    sequencer.add(canary)
    assert sequencer.add(UnknownRecord(6, "acme", canary.job_id, canary.lease)) == []


def test_a_gap_has_the_time_of_the_record_before_it(state_dir: Path) -> None:
    """Also where a former process has read that: the sealer's own clock would give other bytes each time."""
    ends = spoiled(state_dir, _payload)
    AcknowledgedFile(state_dir / "wal").write(1, ends[LOST - 1])
    first = sealer(state_dir)
    run_to_end(first)
    first.keep()
    AcknowledgedFile(state_dir / "wal").write(1, ends[-1])
    again = sealer(state_dir)
    run_to_end(again)
    (gap,) = told(state_dir, "globex")
    assert gap is not None
    assert gap.at_ms == intent("globex", 2).at_ms


class _FormerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Snapshot as versions before gaps have it."""

    sizes: dict[str, int]
    open: list[tuple[int, bytes]]
    canaries: list[bytes]


def test_snapshots_of_the_former_and_of_this_version_are_read_by_each_other() -> None:
    former = msgspec.msgpack.encode(_FormerSnapshot(sizes={"acme": 4}, open=[], canaries=[]))
    restored = Sequencer.restored(ORIGIN, former)
    assert restored.sizes == {"acme": 4}
    assert len(restored.add(Gap(3, 10, 20, 7))) == 1
    present = Snapshot.of({"acme": 5}, OpenIntents(bytes(32)), gaps=ToldGaps((3, 1))).encode()
    assert msgspec.msgpack.decode(present, type=_FormerSnapshot).sizes == {"acme": 5}


def later_record(state_dir: Path, behind: int) -> bytes:
    """Put a record of a later version behind this byte of the first segment, and let it end there; returns its frame."""
    file = segments_of(state_dir / "wal")[0]
    later = frame(msgspec.msgpack.encode(["Later", 5, "acme"]))
    file.write_bytes(file.read_bytes()[:behind] + later)
    AcknowledgedFile(state_dir / "wal").write(1, behind + len(later))
    return later


def test_a_later_version_may_have_written_behind_damage(state_dir: Path) -> None:
    """Both are told, each with its place."""
    ends = spoiled(state_dir, _payload)
    later = later_record(state_dir, ends[LOST])
    run_to_end(sealer(state_dir))
    damage, unread = told(state_dir, "acme")
    assert isinstance(damage, GapEntry)
    assert (damage.end, damage.reason) == (ends[LOST], "damaged")
    end = ends[LOST] + len(later)
    assert unread == GapEntry(at_ms=2, segment=1, first=ends[LOST], end=end, reason="later", more=False)


def test_a_record_of_a_later_version_is_told_in_every_log(state_dir: Path) -> None:
    """Nobody can tell whose it is before it is read. What is behind it is sealed, and its segment stays."""
    ends = frame_ends(segments_of(state_dir / "wal")[0])
    later = later_record(state_dir, ends[4])
    append(SegmentWriter(state_dir / "wal"), *job("globex", 7))
    first = sealer(state_dir)
    run_to_end(first)
    gap = GapEntry(at_ms=2, segment=1, first=ends[4], end=ends[4] + len(later), reason="later", more=False)
    assert told(state_dir, "acme")[0] == gap
    assert [entry for entry in told(state_dir, "globex") if isinstance(entry, GapEntry)] == [gap]
    assert [each.reason for each in first.gaps] == ["later"]
    assert decode_entry(entries(state_dir, "globex")[-1]).kind == "committed"  # type: ignore[union-attr]
    assert sealed_segments(state_dir).incomplete == {1}


def test_what_a_gap_was_told_of_is_never_read_again(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later build, which can read the record, continues the same log: its gap was durable before a checkpoint covered it."""
    ends = frame_ends(segments_of(state_dir / "wal")[0])
    later_record(state_dir, ends[3])
    run_to_end(sealer(state_dir))  # and is killed
    before = told(state_dir, "acme")
    assert len(before) == 1
    with monkeypatch.context() as upgraded:
        upgraded.setattr(follower, "decode_record", lambda payload: job("acme", 1)[2])
        append(SegmentWriter(state_dir / "wal"), *job("acme", 8))
        run_to_end(sealer(state_dir))
    assert told(state_dir, "acme")[:1] == before


def test_a_gap_of_which_no_entry_tells_is_never_read_again(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind so many of a segment that each log says no more than that there are others."""
    monkeypatch.setattr(module, "MOST_GAPS", 1)
    file = segments_of(state_dir / "wal")[0]
    later = later_record(state_dir, frame_ends(file)[3])
    writer = sealer(state_dir)
    run_to_end(writer)
    more = later + b"".join(frame(encode_record(record)) for record in job("acme", 7))
    file.write_bytes(file.read_bytes() + more)
    AcknowledgedFile(state_dir / "wal").write(1, file.stat().st_size)
    run_to_end(writer)  # and is killed
    before = told(state_dir, "acme")
    assert len(before) == 1
    with monkeypatch.context() as upgraded:
        upgraded.setattr(
            follower,
            "decode_record",
            lambda payload: job("acme", 9)[0] if b"Later" in payload else decode_record(payload),
        )
        append(SegmentWriter(state_dir / "wal"), *job("acme", 8))
        run_to_end(sealer(state_dir))
    assert told(state_dir, "acme")[:1] == before
