"""Chunk scheduler: chunks for lanes that can take them, and the slices of a lane that has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import cast

import pytest

from queueing.errors import ClientRevoked, SigningError
from queueing.protocol.jobs import WireError
from workers.lanes.protocol import Outcomes, SliceOutcome
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.chunk_scheduler import CHUNKS_IN_LANE, ChunkScheduler
from workers.lanes.supervisor.connection import ChunkSent, LaneConnection
from workers.lanes.supervisor.lost_lane import MOST_FAULTS, Cause, ExitReason, TokenAfter

GROUP = Group("release", 1, "ECDSA_SHA_256")
SESSIONS = 2
CHUNK = 2 * SESSIONS
"""Digests of a chunk while nothing was measured."""

CRASH = ExitReason(Cause.CRASH, "sigsegv")
FAULT = ExitReason(Cause.FAULT, "device_error")
ASKED = ExitReason(Cause.ASKED, "stopped")


class Lane:
    """Connection that keeps what it is sent."""

    def __init__(self, *, takes_work: bool = True) -> None:
        self.takes_work = takes_work
        self.sessions = SESSIONS
        self.ready = True if takes_work else None
        self.outstanding: dict[int, ChunkSent] = {}
        self.tenant_epoch = 4

    def send_chunk(self, group: Group, slices: list[Slice]) -> None:
        self.outstanding[max(self.outstanding, default=0) + 1] = ChunkSent(group, slices, 0.0)

    def take_outstanding(self) -> deque[ChunkSent]:
        left = deque(self.outstanding.values())
        self.outstanding.clear()
        return left

    @property
    def has(self) -> list[list[str]]:
        return [[str(slice_.job) for slice_ in chunk.slices] for chunk in self.outstanding.values()]


class Job:
    """Job that notes what became of its slices."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self.sealed = b""
        self.needs_signatures = True
        self.sent = 0

    def __str__(self) -> str:
        return self.name

    @property
    def job_id(self) -> bytes:
        return self.name.encode()

    def slice_sent(self, count: int) -> None:
        self.sent += count

    def slice_skipped(self, count: int) -> None:
        self.said.append("skipped")

    def slice_done(self, first: int, outcome: SliceOutcome) -> None:
        self.said.append("done")

    def slice_refused(self, first: int, count: int, error: SigningError, by: int | None = None) -> None:
        self.needs_signatures = False
        self.said.append(f"refused: {error.reason} by epoch {by}")

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None:
        self.said.append(f"poisoned by {', '.join(lane_ends)}")

    def slice_faulted(self, first: int, count: int) -> None:
        self.said.append("faulted")

    def slice_unavailable(self, first: int, count: int) -> None:
        self.said.append("unavailable")

    def slice_in_doubt(self, count: int) -> None:
        self.said.append("in doubt")


def scheduler_with(*jobs: Job, digests: int = CHUNK) -> ChunkScheduler:
    scheduler = ChunkScheduler(chunk_target_s=0.02, poison_crashes=3)
    for job in jobs:
        scheduler.add(Slice(job, GROUP, 0, digests))
    return scheduler


def feed(scheduler: ChunkScheduler, *lanes: Lane) -> None:
    scheduler.feed_all([cast("LaneConnection", lane) for lane in lanes])


def end(scheduler: ChunkScheduler, lane: Lane, reason: ExitReason) -> TokenAfter:
    return scheduler.lane_ended(cast("LaneConnection", lane), reason)


def test_a_lane_has_the_chunk_that_it_signs_and_the_next() -> None:
    """The lane gets no third chunk: what waits here can still go to another lane."""
    scheduler, lane = scheduler_with(Job("a"), Job("b"), Job("c")), Lane()
    feed(scheduler, lane)
    assert lane.has == [["a"], ["b"]]
    assert len(lane.outstanding) == CHUNKS_IN_LANE
    assert scheduler.waiting_digests == CHUNK


def test_every_idle_lane_has_work_before_one_has_two_chunks() -> None:
    """Idle lanes come first, in the order given."""
    scheduler, first, second = scheduler_with(Job("a"), Job("b")), Lane(), Lane()
    feed(scheduler, first, second)
    assert (first.has, second.has) == ([["a"]], [["b"]])


def test_a_lane_that_takes_no_work_is_sent_none() -> None:
    """It is not logged in yet, or was told to stop."""
    scheduler, lane = scheduler_with(Job("a")), Lane(takes_work=False)
    feed(scheduler, lane)
    assert lane.has == []
    assert scheduler.waiting_digests == CHUNK


def test_only_the_chunk_that_was_being_signed_is_suspect_after_a_crash() -> None:
    """The suspect runs alone in the next lane; the other chunk goes to another lane."""
    suspect, other = Job("suspect"), Job("other")
    scheduler, lane = scheduler_with(suspect, other), Lane()
    feed(scheduler, lane)
    end(scheduler, lane, CRASH)
    assert (suspect.said, other.said) == (["in doubt"], ["in doubt"])
    assert scheduler.has_crash_history
    following, second = Lane(), Lane()
    feed(scheduler, following, second)
    assert (following.has, second.has) == ([["suspect"]], [["other"]])
    sent = [*following.outstanding.values(), *second.outstanding.values()]
    assert [chunk.slices[0].alone for chunk in sent] == [True, False]


def test_a_lane_that_was_told_to_stop_makes_nothing_suspect() -> None:
    """Its chunks go to the front of the queue, and share a lane again."""
    scheduler, lane = scheduler_with(Job("a"), Job("b")), Lane()
    feed(scheduler, lane)
    end(scheduler, lane, ASKED)
    assert not scheduler.has_crash_history
    following = Lane()
    feed(scheduler, following)
    assert len(following.outstanding) == CHUNKS_IN_LANE


def test_a_job_that_crashes_three_lanes_is_given_up() -> None:
    """The job is told the exit reason of each lane; it is not sent to a fourth."""
    job = Job("poison")
    scheduler = scheduler_with(job)
    for _ in range(3):
        lane = Lane()
        feed(scheduler, lane)
        assert lane.has == [["poison"]]
        end(scheduler, lane, CRASH)
    assert job.said[-1] == "poisoned by sigsegv, sigsegv, sigsegv"
    assert scheduler.waiting_digests == 0


def test_a_module_that_crashes_at_each_call_costs_one_job() -> None:
    """Until the token has signed, a second job is not blamed for what the token does."""
    first, second = Job("first"), Job("second")
    scheduler = scheduler_with(first)
    for _ in range(3):
        lane = Lane()
        feed(scheduler, lane)
        end(scheduler, lane, CRASH)
    scheduler.add(Slice(second, GROUP, 0, CHUNK))
    after = []
    for _ in range(4):
        lane = Lane()
        feed(scheduler, lane)
        assert lane.has == [["second"]]
        after.append(end(scheduler, lane, CRASH))
    assert set(second.said) == {"in doubt"}
    assert after[-1] is TokenAfter.FAILED


def test_digests_over_which_the_hsm_fails_again_are_requeued() -> None:
    """The job is not at fault, and another host may sign it."""
    job = Job("a")
    scheduler = scheduler_with(job)
    for _ in range(MOST_FAULTS):
        lane = Lane()
        feed(scheduler, lane)
        end(scheduler, lane, FAULT)
    assert job.said[-1] == "faulted"
    assert scheduler.waiting_digests == 0


@pytest.mark.parametrize("keep_begun, left", [(False, 0), (True, CHUNK)])
def test_jobs_that_a_lane_has_begun_may_be_kept(keep_begun: bool, left: int) -> None:
    """Requeued, the slice that a lane has would be signed again."""
    begun, waiting = Job("begun"), Job("waiting")
    scheduler, lane = scheduler_with(), Lane()
    scheduler.add(Slice(begun, GROUP, 0, 3 * CHUNK))
    scheduler.add(Slice(waiting, GROUP, 0, CHUNK))
    feed(scheduler, lane)
    scheduler.return_waiting(keep_begun=keep_begun)
    assert waiting.said == ["unavailable"]
    assert scheduler.waiting_digests == left


def refusal_of(error: SigningError) -> Outcomes:
    return Outcomes(1, (SliceOutcome(WireError.of(error), 0, b"", ()),), 0.0)


def test_a_lane_that_refuses_a_job_gets_no_more_of_it() -> None:
    """The chunk that is sent with the answer has nothing of the job, and nothing of it waits."""
    refused, other = Job("refused"), Job("other")
    scheduler, lane = scheduler_with(), Lane()
    scheduler.add(Slice(refused, GROUP, 0, 4 * CHUNK))
    scheduler.add(Slice(other, GROUP, 0, CHUNK))
    feed(scheduler, lane)
    assert lane.has == [["refused"], ["refused"]]
    first = lane.outstanding.pop(1)
    scheduler.chunk_answered(cast("LaneConnection", lane), first, refusal_of(ClientRevoked()), 0.0)
    assert lane.has == [["refused"], ["other"]]
    assert refused.said == ["refused: client.revoked by epoch 4", "skipped"]
    assert (refused.sent, scheduler.waiting_digests) == (2 * CHUNK, 0)


@pytest.mark.parametrize(
    "outcome, after",
    [
        (SliceOutcome(WireError.of(ClientRevoked()), 0, b"", ()), TokenAfter.FAILED),
        (SliceOutcome(None, 1, b"f" * 32, (b"signature",) * CHUNK), TokenAfter.USED),
    ],
    ids=["refused", "signed"],
)
def test_only_a_signature_clears_the_token_of_crashes(outcome: SliceOutcome, after: TokenAfter) -> None:
    """A refusal needs no HSM: after two crashes and a refusal, the next crash is the third in a row."""
    scheduler = scheduler_with(Job("a"))
    for _ in range(2):
        lane = Lane()
        feed(scheduler, lane)
        end(scheduler, lane, CRASH)
    lane = Lane()
    feed(scheduler, lane)
    chunk = lane.outstanding.pop(1)
    scheduler.chunk_answered(cast("LaneConnection", lane), chunk, Outcomes(1, (outcome,), 0.0), 0.0)
    assert end(scheduler, lane, CRASH) is after


def test_a_lost_lane_has_nothing_of_an_ended_job_signed_again() -> None:
    """The crash counts against the token and not against the job."""
    ended, other = Job("ended"), Job("other")
    scheduler, lane = scheduler_with(ended, other), Lane()
    feed(scheduler, lane)
    ended.needs_signatures = False
    end(scheduler, lane, CRASH)
    assert scheduler.has_crash_history
    assert not scheduler._lost.jobs
    assert ended.said == ["in doubt", "skipped"]
    assert scheduler.waiting_digests == CHUNK
    following = Lane()
    feed(scheduler, following)
    assert following.has == [["other"]]


def test_a_lane_that_was_kept_for_a_suspect_whose_job_ended_signs_other_jobs() -> None:
    """Otherwise it would be idle until the next event."""
    suspect, other = Job("suspect"), Job("other")
    scheduler, lane = scheduler_with(suspect), Lane()
    feed(scheduler, lane)
    end(scheduler, lane, CRASH)
    scheduler.add(Slice(other, GROUP, 0, CHUNK))
    suspect.needs_signatures = False
    following = Lane()
    feed(scheduler, following)
    assert following.has == [["other"]]
    assert suspect.said == ["in doubt", "skipped"]
