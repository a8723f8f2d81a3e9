"""A seal says which segments there are and that nothing in them is open; else there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from tests.unit.workers.journal.test_recovery import intent, outcome, released, returned, write
from workers.audit.seal import SEAL_NAME, OpenLog, Seal, seal


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
    with pytest.raises(OpenLog, match="1 outcomes are not released, 0 intents"):
        seal(tmp_path)
    assert not (tmp_path / SEAL_NAME).exists()


def test_an_intent_without_an_outcome_keeps_it_open(tmp_path: Path) -> None:
    write(tmp_path, intent(b"a"), outcome(b"a"), released(b"a"), intent(b"b"))
    with pytest.raises(OpenLog, match="0 outcomes are not released, 1 intents"):
        seal(tmp_path)


def test_an_empty_log_is_at_rest(tmp_path: Path) -> None:
    assert seal(tmp_path).segments == ()
