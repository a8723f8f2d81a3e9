"""A log in a bundle must be the continuation of every checkpoint that the auditor kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from queueing.transparency.checkpoints import Checkpoint
from queueing.transparency.merkle import EMPTY_ROOT
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.certified_logs import root_at
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from tests.support.heads.certified_heads import head_here
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.findings import Problem
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import log_folder

JOBS = 180
"""541 entries: two full blocks and a part of a third one. Job N is of the time N ms."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state_dir = tmp_path_factory.mktemp("state")
    writer = SegmentWriter(state_dir / "wal")
    for number in range(JOBS):
        append(writer, *job("acme", number))
    seal(state_dir)
    return log_folder(state_dir, "acme")


def problems(bundle: Path, *kept: Checkpoint) -> list[Problem]:
    (origin,) = origins_of(bundle)
    key = Ed25519NoteKey(kept[0].origin, EPOCH_KEY).verifier
    return list(OriginVerifier(origin, trusted=[key], kept=kept).run())


def at(log: Path, size: int) -> Checkpoint:
    return Checkpoint(head_here(log).origin, size, root_at(log, size))


def exported(log: Path, tmp_path: Path, *, from_ms: int = 0) -> Path:
    export(log, tmp_path / "bundle", from_ms=from_ms)
    return tmp_path / "bundle"


def test_a_log_holds_against_each_of_its_earlier_heads(log: Path, tmp_path: Path) -> None:
    assert head_here(log).size == 541
    kept = [at(log, size) for size in (1, 2, 255, 256, 257, 512, 540, 541)]
    kept.append(Checkpoint(head_here(log).origin, 0, EMPTY_ROOT))
    assert problems(exported(log, tmp_path), *kept) == []


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 541])
def test_a_log_with_another_past_is_found(log: Path, tmp_path: Path, size: int) -> None:
    (problem,) = problems(exported(log, tmp_path), replace(at(log, size), root=b"x" * 32))
    assert problem.code == "kept.forked"
    assert problem.place == head_here(log).origin[-16:]
    assert problem.what.startswith(f"the first {size} entries are other ones")


@pytest.mark.parametrize("size", [542, 2**63 - 1])
def test_a_log_that_was_longer_once_was_rolled_back(log: Path, tmp_path: Path, size: int) -> None:
    """Whatever the root: the entries are not there."""
    (problem,) = problems(exported(log, tmp_path), replace(at(log, 541), size=size))
    assert problem.code == "kept.rolled_back"
    assert problem.what == f"rolled back: the checkpoint that was kept has {size} entries, and this log 541"


def test_two_checkpoints_of_one_size_cannot_both_hold(log: Path, tmp_path: Path) -> None:
    (problem,) = problems(exported(log, tmp_path), at(log, 300), replace(at(log, 300), root=b"x" * 32))
    assert problem.code == "kept.forked"


def test_a_checkpoint_of_another_log_is_not_held_against_this_one(log: Path, tmp_path: Path) -> None:
    other = Checkpoint("sigmill/prod/globex/0123456789abcdef", 900, b"x" * 32)
    assert problems(exported(log, tmp_path), at(log, 300), other) == []


@pytest.mark.parametrize("size", [256, 512, 530, 541])
def test_a_range_of_a_log_holds_against_a_head_at_a_whole_block_or_inside_the_range(
    log: Path, tmp_path: Path, size: int
) -> None:
    """Of the first block only the hash is here."""
    bundle = exported(log, tmp_path, from_ms=JOBS - 1)
    assert problems(bundle, at(log, size)) == []
    assert [each.code for each in problems(bundle, replace(at(log, size), root=b"x" * 32))] == ["kept.forked"]


@pytest.mark.parametrize("size", [1, 255, 257])
def test_a_head_that_the_bundle_says_nothing_of_is_told_and_does_not_pass(
    log: Path, tmp_path: Path, size: int
) -> None:
    (problem,) = problems(exported(log, tmp_path, from_ms=JOBS - 1), at(log, size))
    assert problem.code == "kept.not_compared"
    assert f"the entries around number {size} are not here" in problem.what
