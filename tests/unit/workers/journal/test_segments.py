"""Segments: what was written is read back, up to the first damage, never anything else."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from workers.journal.damage import Damage
from workers.journal.records import MAX_RECORD_BYTES, IntentRecord, ReleasedRecord, encode_record
from workers.journal.segments import (
    damage_of,
    frame,
    read_segment,
    segment_number,
    segment_path,
    segments_of,
)

PAYLOADS = [b"first", b"\x00", b"\x00" * 20, b"the last one"]
WHOLE = b"".join(map(frame, PAYLOADS))


def read(folder: Path, content: bytes) -> list[bytes]:
    file = folder / "000000000001.wal"
    file.write_bytes(content)
    return list(read_segment(file))


def test_a_record_that_no_reader_would_believe_is_not_framed() -> None:
    """Everything behind it in its segment would be hidden."""
    with pytest.raises(ValueError, match="a record of"):
        frame(bytes(MAX_RECORD_BYTES + 1))


def test_written_records_are_read_in_order(tmp_path: Path) -> None:
    """Every payload comes back, whatever its bytes."""
    assert read(tmp_path, WHOLE) == PAYLOADS


def test_a_tail_torn_at_any_byte_costs_the_torn_record_only(tmp_path: Path) -> None:
    """Whole records before it are all there, and nothing is made up."""
    ends = [len(b"".join(map(frame, PAYLOADS[: n + 1]))) for n in range(len(PAYLOADS))]
    for length in range(len(WHOLE)):
        whole = sum(end <= length for end in ends)
        assert read(tmp_path, WHOLE[:length]) == PAYLOADS[:whole]


def test_a_byte_changed_anywhere_costs_its_record_at_most(tmp_path: Path) -> None:
    """A changed record is never believed, those behind it are read, and the place is reported."""
    records = [encode_record(ReleasedRecord(n, "acme", b"job %d" % n, b"w:1", "committed")) for n in range(5)]
    whole = b"".join(map(frame, records))
    size = len(whole) // len(records)
    for place in range(len(whole)):
        for bit in range(8):
            changed = whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :]
            file = tmp_path / "000000000001.wal"
            file.write_bytes(changed)
            damage: list[Damage] = []
            found = list(read_segment(file, damage))
            ((offset, recovered),) = [(each.offset, each.record_recovered) for each in damage]
            hit = place // size
            assert offset == hit * size
            assert found == (records if recovered else records[:hit] + records[hit + 1 :])
            assert recovered == (place % size < 4), "a record of which only the length was changed is whole"


@pytest.mark.parametrize("tail", [b"", b"\x00\x00\x00\x30torn", b"\x00" * 4096, b"\x00\x00"])
def test_a_torn_tail_is_not_reported_as_damage(tmp_path: Path, tail: bytes) -> None:
    """A crash ends the file within a frame, or in blocks that were never written."""
    file = tmp_path / "000000000001.wal"
    file.write_bytes(WHOLE + tail)
    assert damage_of(file) == []


def test_damage_of_some_sectors_costs_the_records_in_them(tmp_path: Path) -> None:
    """Two sectors of a segment are lost; the records behind each of them are read."""
    records = [
        encode_record(IntentRecord(1, "acme", b"job %d" % n, b"w:1", 1, bytes(700))) for n in range(40)
    ]
    raw = bytearray(b"".join(map(frame, records)))
    for start in (4096, 12288):
        raw[start : start + 512] = b"\xee" * 512
    file = tmp_path / "000000000001.wal"
    file.write_bytes(raw)
    damage: list[Damage] = []
    found = list(read_segment(file, damage))
    assert len(damage) == 2
    assert len(found) >= 36
    assert [record for record in records if record in found] == found


def test_a_frame_within_an_envelope_is_not_taken_for_one_of_the_log(tmp_path: Path) -> None:
    """A client may put the bytes of a frame into its envelope; a rotten byte before them does not make them a record."""
    imitation = frame(encode_record(ReleasedRecord(1, "globex", b"victim", b"w:1", "committed")))
    records = [
        encode_record(IntentRecord(1, "acme", b"evil", b"w:1", 1, imitation * 3)),
        encode_record(ReleasedRecord(1, "acme", b"last", b"w:1", "committed")),
    ]
    whole = b"".join(map(frame, records))
    file = tmp_path / "000000000001.wal"
    for place in range(40):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert set(read_segment(file)) <= set(records)


@pytest.mark.parametrize("tail", [b"\x00" * 4096, b"\xff" * 4096], ids=["zeros", "ones"])
def test_a_tail_of_blocks_that_were_never_written_is_no_record_of_ours(tmp_path: Path, tail: bytes) -> None:
    """A file system may show them after a power loss; the CRC of no bytes is zero, so zeros must not be a frame."""
    assert read(tmp_path, WHOLE + tail) == PAYLOADS


def test_a_length_beyond_any_record_is_damage(tmp_path: Path) -> None:
    """It is no torn tail: a record that long was never begun."""
    head = (MAX_RECORD_BYTES + 1).to_bytes(4, "big") + bytes(4)
    good = frame(b"good")
    assert read(tmp_path, good + head + b"x" * 100) == [b"good"]
    assert damage_of(tmp_path / "000000000001.wal") == [
        Damage("000000000001.wal", len(good), len(head) + 100)
    ]


@pytest.mark.parametrize(
    "step", [61, pytest.param(1, marks=pytest.mark.slow)], ids=["near-borders", "every-byte"]
)
def test_a_tail_torn_at_any_byte_of_the_last_64_kib_loses_nothing_that_was_whole(
    tmp_path: Path, step: int
) -> None:
    """Of records as they are: envelopes and results of some KiB.

    Lengths that are tried: each near the border of a record or of a page of the file, every 61st elsewhere; or every one.
    """
    dice = random.Random(1)
    payloads = [dice.randbytes(dice.randrange(2000, 12000)) for _ in range(12)]
    file = tmp_path / "000000000001.wal"
    file.write_bytes(b"".join(map(frame, payloads)))
    end = file.stat().st_size
    assert end > 65536
    whole = len(payloads)
    starts = [sum(len(frame(p)) for p in payloads[:n]) for n in range(len(payloads) + 1)]
    near = 40  # bytes: more than the head of a frame, on both sides
    for length in range(end, end - 65536 - 1, -1):
        to_record = min(abs(length - start) for start in starts)
        if length % step and to_record > near and min(length % 4096, -length % 4096) > 2:
            continue
        os.truncate(file, length)
        while starts[whole] > length:
            whole -= 1
        assert sum(1 for _ in read_segment(file)) == whole
    assert list(read_segment(file)) == payloads[:whole]


def test_segments_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Other files do not matter."""
    for name in ("000000000010.wal", "000000000009.wal", "notes.txt", "copy.wal", "lock"):
        (tmp_path / name).touch()
    assert [segment_number(file) for file in segments_of(tmp_path)] == [9, 10]
    assert segment_path(tmp_path, 9) == segments_of(tmp_path)[0]


def test_a_folder_that_is_not_there_has_no_segments(tmp_path: Path) -> None:
    """The first start."""
    assert segments_of(tmp_path / "none") == []
