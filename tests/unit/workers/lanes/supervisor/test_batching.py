"""Slices that wait for a lane: their order, how they are cut, and which ones run alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from queueing.errors import SigningError
from workers.lanes.protocol import SliceOutcome
from workers.lanes.supervisor.batching import GROUPS_MEASURED, Batcher, ChunkSize, Group, Slice

RSA, ECDSA = Group("release", 1, "RSASSA_PSS_SHA_256"), Group("release", 2, "ECDSA_SHA_256")


@dataclass(eq=False)
class Job:
    """Job that is only a name."""

    name: str
    sealed: bytes = field(default=b"", repr=False)
    needs_signatures: bool = True
    skipped: int = 0

    @property
    def job_id(self) -> bytes:
        return self.name.encode()

    def slice_sent(self, count: int) -> None: ...

    def slice_skipped(self, count: int) -> None:
        self.skipped += count

    def slice_done(self, first: int, outcome: SliceOutcome) -> None: ...

    def slice_refused(self, first: int, count: int, error: SigningError, by: int | None = None) -> None: ...

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None: ...

    def slice_faulted(self, first: int, count: int) -> None: ...

    def slice_unavailable(self, first: int, count: int) -> None: ...

    def slice_in_doubt(self, count: int) -> None: ...


def shown(taken: list[Slice]) -> list[tuple[str, int, int]]:
    return [(slice_.job.name, slice_.first, slice_.count) for slice_ in taken]  # type: ignore[attr-defined]


def batcher_with(*slices: tuple[str, Group, int]) -> Batcher:
    batcher = Batcher()
    for name, group, count in slices:
        batcher.add(Slice(Job(name), group, 0, count))
    return batcher


def test_jobs_of_a_group_keep_their_order_and_share_a_chunk() -> None:
    """A chunk has as many slices as fit, first in, first out."""
    batcher = batcher_with(("a", RSA, 3), ("b", RSA, 3), ("c", RSA, 3))
    assert shown(batcher.take(RSA, 6)) == [("a", 0, 3), ("b", 0, 3)]
    assert shown(batcher.take(RSA, 6)) == [("c", 0, 3)]
    assert batcher.digests == 0


def test_a_long_job_is_cut_and_its_rest_stays_in_front() -> None:
    """Cuts do not change the order of digests."""
    batcher = batcher_with(("a", RSA, 10), ("b", RSA, 1))
    assert shown(batcher.take(RSA, 4)) == [("a", 0, 4)]
    assert shown(batcher.take(RSA, 4)) == [("a", 4, 4)]
    assert batcher.digests == 3
    assert shown(batcher.take(RSA, 4)) == [("a", 8, 2), ("b", 0, 1)]


def test_groups_take_turns() -> None:
    """A group that was served goes behind the others; one that is empty is gone."""
    batcher = batcher_with(("a", RSA, 4), ("b", ECDSA, 4))
    turns = []
    while (group := batcher.next_group()) is not None:
        turns.append(group)
        batcher.take(group, 2)
    assert turns == [RSA, ECDSA, RSA, ECDSA]


def test_a_slice_that_comes_back_goes_to_the_front() -> None:
    """A lane ended before it was its turn: it does not wait again behind the others."""
    batcher = batcher_with(("a", RSA, 1))
    batcher.add(Slice(Job("b"), RSA, 5, 2), front=True)
    assert shown(batcher.take(RSA, 9)) == [("b", 5, 2), ("a", 0, 1)]


def test_a_suspect_waits_apart_and_is_taken_alone() -> None:
    """No other slice shares a chunk with a slice over which a lane has crashed."""
    batcher = batcher_with(("a", RSA, 1))
    batcher.add(Slice(Job("bad"), RSA, 0, 1, alone=True))
    batcher.add(Slice(Job("worse"), RSA, 0, 2, alone=True))
    assert batcher.digests == 4
    assert shown(batcher.take(RSA, 9)) == [("a", 0, 1)]
    assert shown(batcher.take_suspect()) == [("bad", 0, 1)]
    assert shown(batcher.take_suspect()) == [("worse", 0, 2)]
    assert batcher.digests == 0


def test_the_suspect_that_did_least_is_first() -> None:
    """An innocent one does not wait behind one that breaks every lane."""
    batcher = Batcher()
    batcher.add(Slice(Job("bad"), RSA, 0, 1, alone=True, crashes=("exit_5", "exit_5")))
    batcher.add(Slice(Job("unlucky"), RSA, 0, 1, alone=True, crashes=("exit_5",)))
    batcher.add(Slice(Job("tried"), RSA, 0, 1, alone=True, faults=2))
    batcher.add(Slice(Job("next"), RSA, 0, 1, alone=True, faults=1))
    assert [shown(batcher.take_suspect())[0][0] for _ in range(4)] == ["tried", "next", "unlucky", "bad"]


def test_clearing_gives_everything_back_once() -> None:
    """Suspects are given back, too, and nothing is left."""
    batcher = batcher_with(("a", RSA, 1), ("b", ECDSA, 1))
    batcher.add(Slice(Job("bad"), RSA, 0, 1, alone=True))
    assert {name for name, _, _ in shown(batcher.clear())} == {"a", "b", "bad"}
    assert batcher.clear() == []
    assert (batcher.digests, batcher.next_group()) == (0, None)


def test_slices_of_a_job_that_needs_no_more_signatures_are_skipped() -> None:
    """Nothing of it goes to a lane, its neighbour does, and the job is told."""
    batcher = batcher_with(("ended", RSA, 4), ("a", RSA, 2))
    (cut,) = batcher.take(RSA, 1)
    ended = cut.job
    assert isinstance(ended, Job)
    ended.needs_signatures = False
    assert shown(batcher.take(RSA, 9)) == [("a", 0, 2)]
    assert (ended.skipped, batcher.digests, batcher.next_group()) == (3, 0, None)


def test_a_suspect_whose_job_needs_no_more_signatures_is_skipped() -> None:
    """The next suspect is taken instead, or none."""
    batcher = Batcher()
    ended, other = Job("ended", needs_signatures=False), Job("other")
    for job in (ended, other):
        batcher.add(Slice(job, RSA, 0, 2, alone=True))
    assert shown(batcher.take_suspect()) == [("other", 0, 2)]
    assert batcher.take_suspect() == []
    assert (ended.skipped, other.skipped, batcher.digests) == (2, 0, 0)


def test_the_rest_of_a_job_that_is_begun_can_be_kept() -> None:
    """A part of it is in a lane: given back, that part would be signed again."""
    batcher = batcher_with(("a", RSA, 4), ("b", RSA, 2))
    assert shown(batcher.take(RSA, 3)) == [("a", 0, 3)]
    assert shown(batcher.clear(keep_begun=True)) == [("b", 0, 2)]
    assert batcher.digests == 1
    assert shown(batcher.take(RSA, 9)) == [("a", 3, 1)]


def test_a_part_that_comes_back_is_of_a_job_that_is_begun() -> None:
    """Its lane ended; the other parts may be signed."""
    batcher = batcher_with(("a", RSA, 4))
    (part,) = batcher.take(RSA, 3)
    batcher.add(part, front=True)
    assert shown(batcher.clear(keep_begun=True)) == []
    assert shown(batcher.clear()) == [("a", 0, 3), ("a", 3, 1)]


def test_a_first_chunk_is_small() -> None:
    """Two digests for each session, until something was measured."""
    size = ChunkSize(target_s=0.02, most=1024)
    assert size.of(RSA, 4) == 8
    assert size.largest(4) == 8


@pytest.mark.parametrize(
    "each_s, digests",
    [(0.0001, 200), (0.001, 20), (0.01, 4), (1.0, 4), (1e-9, 1024)],
    ids=["fast", "slow", "slower than the target", "very slow", "no time at all"],
)
def test_a_chunk_is_as_long_as_the_target(each_s: float, digests: int) -> None:
    """It has at least one digest for each session, and never more than the maximum."""
    size = ChunkSize(target_s=0.02, most=1024)
    size.measured(RSA, 10, 10 * each_s)
    assert size.of(RSA, 4) == pytest.approx(digests, abs=1)


def test_groups_are_measured_apart() -> None:
    """RSA does not make chunks of ECDSA small; the largest decides what a claim should fill."""
    size = ChunkSize(target_s=0.02, most=1024)
    size.measured(RSA, 10, 0.1)
    size.measured(ECDSA, 10, 0.001)
    assert size.of(RSA, 1) < size.of(ECDSA, 1) == size.largest(1)


def test_one_slow_chunk_does_not_decide() -> None:
    """A moving average: the estimate goes a quarter of the way."""
    size = ChunkSize(target_s=1.0, most=10_000)
    size.measured(RSA, 1, 0.001)
    size.measured(RSA, 1, 0.005)
    assert size.of(RSA, 1) == pytest.approx(1 / 0.002, abs=1)


def test_what_is_measured_is_bounded() -> None:
    """Keys come and go: the group that was signed with longest ago is forgotten first."""
    size = ChunkSize(target_s=1.0, most=1024)
    size.measured(RSA, 1, 0.01)
    for i in range(GROUPS_MEASURED - 1):
        size.measured(Group("k", i, "A"), 1, 0.01)
    size.measured(RSA, 1, 0.01)
    size.measured(ECDSA, 1, 0.01)
    assert size.of(RSA, 1) == size.of(ECDSA, 1) == 100
    assert size.of(Group("k", 0, "A"), 1) == 2
    assert size.of(Group("k", 1, "A"), 1) == 100
