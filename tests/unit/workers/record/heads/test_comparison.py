"""A log is the continuation of a head that was certified before, or it contradicts it, or that cannot be said now."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint
from tests.support.farm.certified_logs import root_at
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.long_logs import SIZE, long_log
from tests.support.farm.sealed_logs import seal
from tests.support.heads.certified_heads import head_here
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import log_folder
from workers.record.heads.comparison import contradiction
from workers.record.retention.minimum import write_minimum
from workers.record.volumes import VOLUME


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 301 entries: one full tile, and a part of the next."""
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(100):
        append(writer, *job("acme", number))
    seal(tmp_path)
    return log_folder(tmp_path, "acme")


def at(log: Path, size: int, root: bytes | None = None) -> Checkpoint:
    return Checkpoint(head_here(log).origin, size, root_at(log, size) if root is None else root)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 300, 301])
def test_a_log_continues_each_head_that_it_had(log: Path, size: int) -> None:
    assert head_here(log).size == 301
    assert contradiction(log, at(log, size), read_whole=True) is None


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 300, 301])
def test_a_log_contradicts_a_head_of_its_size_or_less_with_another_root(log: Path, size: int) -> None:
    found = contradiction(log, at(log, size, b"x" * 32), read_whole=False)
    assert found is not None
    assert f"the first {size} entries of {head_here(log).origin} are other ones here" in found.why


@pytest.mark.parametrize("size", [302, 2**62])
def test_a_log_contradicts_a_head_with_more_entries(log: Path, size: int) -> None:
    found = contradiction(log, at(log, size, b"x" * 32), read_whole=True)
    assert found is not None
    assert found.why == f"{head_here(log).origin} had {size} entries, and has 301 here"


def test_a_log_that_is_not_there_contradicts_every_head(log: Path) -> None:
    """The older copy is from before its first entry."""
    head = at(log, 3)
    (log / "checkpoint").unlink()
    found = contradiction(log, head, read_whole=True)
    assert found is not None
    assert found.why.endswith("had 3 entries, and has 0 here")


def test_a_log_that_is_still_being_read_is_not_judged_as_too_short(log: Path) -> None:
    """After a power cut its checkpoint may be lost, and the entries come back from the write-ahead log."""
    with pytest.raises(ProofInvalid, match="has not read the write-ahead log to its end"):
        contradiction(log, at(log, 302, b"x" * 32), read_whole=False)


def test_a_log_that_was_given_up_meanwhile_is_not_judged(log: Path) -> None:
    other = Checkpoint("sigmill/prod/acme/0123456789abcdef", 3, b"x" * 32)
    with pytest.raises(ProofInvalid, match="given up meanwhile"):
        contradiction(log, other, read_whole=True)


def test_a_record_that_was_replaced_a_moment_ago_is_not_judged_as_too_short(log: Path) -> None:
    """The new one has no checkpoint yet."""
    head = at(log, 3)
    (log.parent.parent / "origin").write_text("ab" * 64 + " 1.0\n")
    (log / "checkpoint").unlink()
    with pytest.raises(ProofInvalid, match="given up meanwhile"):
        contradiction(log, head, read_whole=True)


def test_a_checkpoint_that_cannot_be_read_is_not_judged(log: Path) -> None:
    head = at(log, 3)
    (log / "checkpoint").write_bytes(b"nonsense")
    with pytest.raises(ProofInvalid, match="cannot be read"):
        contradiction(log, head, read_whole=True)


def test_a_head_whose_entries_retention_has_removed_is_continued(tmp_path: Path) -> None:
    """Nothing is left of what it covers but whole tiles."""
    long_log(tmp_path)
    log = log_folder(tmp_path, "acme")
    head = Checkpoint(head_here(log).origin, VOLUME - 1, b"x" * 32)
    assert head_here(log).size == SIZE
    assert contradiction(log, head, read_whole=True) is not None
    write_minimum(log, VOLUME)
    (log / "level0" / "000000.bin").unlink()
    assert contradiction(log, head, read_whole=True) is None
