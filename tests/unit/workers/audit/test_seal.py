"""A seal says which segments there are and that nothing in them is open; else there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from tests.unit.workers.journal.test_recovery import intent, outcome, released, returned, write
from workers.audit.seal import SEAL_NAME, DamagedLog, OpenLog, Seal, seal


def test_a_log_at_rest_is_sealed_with_the_digest_of_each_segment(tmp_path: Path) -> None:
    first = write(tmp_path, intent(b"a"), outcome(b"a"), released(b"a"))
    write(tmp_path, intent(b"b"), returned(b"b"), number=2)
    made = seal(tmp_path, now_s=1_000.0)
    assert [segment.name for segment in made.segments] == [first.name, "000000000002.wal"]
    assert made.segments[0].sha256 == hashlib.sha256(first.read_bytes()).hexdigest()
    assert made.segments[0].size_bytes == first.stat().st_size
    assert msgspec.json.decode((tmp_path / SEAL_NAME).read_bytes(), type=Seal) == made


def test_an_outcome_that_was_not_released_keeps_it_open(tmp_path: Path) -> None:
    write(tmp_path, intent(b"a"), outcome(b"a"))
    with pytest.raises(OpenLog, match="1 outcome is not released, 0 intents"):
        seal(tmp_path)
    assert not (tmp_path / SEAL_NAME).exists()


def test_an_intent_without_an_outcome_keeps_it_open(tmp_path: Path) -> None:
    write(tmp_path, intent(b"a"), outcome(b"a"), released(b"a"), intent(b"b"))
    with pytest.raises(OpenLog, match="0 outcomes are not released, 1 intent has"):
        seal(tmp_path)


def damaged(folder: Path) -> Path:
    """A log of two segments with one byte changed in the first: the record there was closed."""
    file = write(folder, intent(b"a"), outcome(b"a"), released(b"a"))
    write(folder, intent(b"b"), returned(b"b"), number=2)
    raw = bytearray(file.read_bytes())
    raw[20] ^= 1
    file.write_bytes(raw)
    return file


def test_a_log_that_cannot_be_read_whole_is_not_sealed(tmp_path: Path) -> None:
    """Segment and offset are named, also of a segment that no recovery would read."""
    file = damaged(tmp_path)
    with pytest.raises(DamagedLog, match=f"{file.name}: [0-9]+ bytes from offset 0 are damaged"):
        seal(tmp_path)
    assert not (tmp_path / SEAL_NAME).exists()


def test_accepted_damage_is_listed_in_the_seal(tmp_path: Path) -> None:
    """A later comparison of the archive names the missing records."""
    file = damaged(tmp_path)
    (place,) = seal(tmp_path, accept_damage=True).damaged
    assert (place.segment, place.offset) == (file.name, 0)
    assert b'"damaged"' in (tmp_path / SEAL_NAME).read_bytes()


def test_a_torn_tail_is_no_damage(tmp_path: Path) -> None:
    """A crash leaves it, and nothing in it was acknowledged."""
    write(tmp_path, intent(b"a"), returned(b"a"), tail=b"\x00\x00\x00\x30torn")
    assert seal(tmp_path).damaged == ()


def test_an_empty_log_is_at_rest(tmp_path: Path) -> None:
    assert seal(tmp_path).segments == ()


def test_events_that_wait_for_the_log_keep_it_open(tmp_path: Path) -> None:
    """A key that was revoked by the last command would be in no log."""
    write(tmp_path, intent(b"a"), returned(b"a"))
    with pytest.raises(OpenLog, match="2 events of commands are not in the log"):
        seal(tmp_path, events=2)
    assert not (tmp_path / SEAL_NAME).exists()
