"""The worker's end of one lane: what it owes, since when, and what becomes of nonsense."""

from __future__ import annotations

import asyncio

import pytest

from queueing.protocol.jobs import WireError
from tests.support.fake_lane import FakeClock, FakeJob, FakeLane, turn
from workers.lanes.protocol import (
    Alive,
    Outcomes,
    SignCanary,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    SliceOutcome,
    Stop,
)
from workers.lanes.supervisor import connection as module
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.connection import ChunkSent, LaneConnection

GROUP = Group("release", 1, "ECDSA_SHA_256")


class Owner:
    """Who is told."""

    def __init__(self) -> None:
        self.answered: list[tuple[ChunkSent, Outcomes, float]] = []
        self.directories: list[SignedDirectory] = []
        self.canaries: list[SignedCanary] = []

    def lane_answered(self, link: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        self.answered.append((chunk, answer, busy_s))

    def directory_signed(self, answer: SignedDirectory) -> None:
        self.directories.append(answer)

    def canary_signed(self, answer: SignedCanary) -> None:
        self.canaries.append(answer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(module, "time", fake)
    return fake


def linked() -> tuple[FakeLane, Owner, LaneConnection]:
    lane, owner = FakeLane(), Owner()
    return lane, owner, LaneConnection(lane, owner)  # type: ignore[arg-type]


def slices(*counts: int) -> list[Slice]:
    return [Slice(FakeJob(f"job-{i}"), GROUP, i, count) for i, count in enumerate(counts)]


async def test_a_chunk_names_its_envelopes_and_ranges(clock: FakeClock) -> None:
    """And is owed until it is answered."""
    lane, owner, link = linked()
    reading = asyncio.ensure_future(link.read_until_end())
    link.send_chunk(GROUP, slices(3, 4))
    (chunk,) = lane.chunks
    assert [(item.sealed, item.first, item.count) for item in chunk.items] == [
        (b"job-0", 0, 3),
        (b"job-1", 1, 4),
    ]
    assert (link.busy, link.digests_outstanding) == (True, 7)
    lane.answer(chunk)
    await turn()
    assert (link.busy, link.digests_outstanding) == (False, 0)
    assert len(owner.answered) == 1
    lane.end(0)
    await reading


async def test_readiness_and_sessions_are_known_when_it_says_so(clock: FakeClock) -> None:
    """No session before."""
    lane, _, link = linked()
    reading = asyncio.ensure_future(link.read_until_end())
    assert (link.sessions, link.became_ready.is_set()) == (0, False)
    lane.ready(3)
    await turn()
    assert (link.sessions, link.became_ready.is_set()) == (3, True)
    lane.end(0)
    await reading


async def test_the_time_of_a_chunk_begins_when_the_one_before_it_is_done(clock: FakeClock) -> None:
    """Waiting behind another chunk is not work."""
    lane, owner, link = linked()
    reading = asyncio.ensure_future(link.read_until_end())
    link.send_chunk(GROUP, slices(1))
    link.send_chunk(GROUP, slices(1))
    clock.now += 2.0
    lane.answer(lane.chunks[0])
    await turn()
    clock.now += 0.5
    lane.answer(lane.chunks[1])
    await turn()
    assert [busy_s for _, _, busy_s in owner.answered] == [2.0, 0.5]
    lane.end(0)
    await reading


async def test_silence_counts_only_while_it_owes_something(clock: FakeClock) -> None:
    """And a sign of life ends it."""
    lane, _, link = linked()
    reading = asyncio.ensure_future(link.read_until_end())
    clock.now += 100
    assert link.silent_s(clock.now) == 0.0
    assert link.idle_s(clock.now) == 100.0
    link.send_chunk(GROUP, slices(1))
    clock.now += 3
    assert (link.silent_s(clock.now), link.idle_s(clock.now)) == (3.0, 0.0)
    lane.say(Alive())
    await turn()
    assert link.silent_s(clock.now) == 0.0
    lane.end(0)
    await reading


async def test_a_directory_is_passed_on(clock: FakeClock) -> None:
    """It is owed meanwhile."""
    lane, owner, link = linked()
    reading = asyncio.ensure_future(link.read_until_end())
    link.ask(SignDirectory(5, "acme", 0, 1))
    assert lane.directories == [SignDirectory(5, "acme", 0, 1)]
    busy = [link.busy]
    lane.say(SignedDirectory(5, b"signed"))
    await turn()
    busy.append(link.busy)
    assert owner.directories == [SignedDirectory(5, b"signed")]
    assert busy == [True, False]
    lane.end(0)
    await reading


async def test_stopping_asks(clock: FakeClock) -> None:
    """Nothing is killed."""
    lane, _, link = linked()
    link.stop()
    assert link.stopping
    assert lane.sent == [Stop()]
    assert not lane.killed


@pytest.mark.parametrize(
    "nonsense",
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x00"],
    ids=["a frame without end", "no message", "an empty frame"],
)
async def test_a_lane_that_talks_nonsense_is_killed(clock: FakeClock, nonsense: bytes) -> None:
    """Whatever it is, it is no lane of ours."""
    lane, _, link = linked()
    lane.reader.feed_data(nonsense)
    await link.read_until_end()
    assert lane.killed


SIGNED = SliceOutcome(None, 1, b"f" * 32, (b"signature",))
REFUSED = WireError("digest.length")


@pytest.mark.parametrize(
    "answer",
    [
        Outcomes(9, (SIGNED, SIGNED), 0.0),
        Outcomes(1, (), 0.0),
        Outcomes(1, (SIGNED,) * 3, 0.0),
        Outcomes(1, (SIGNED, SliceOutcome(None, 1, b"f" * 32)), 0.0),
        Outcomes(1, (SIGNED, SliceOutcome(None, 1, b"f" * 32, (b"signature",) * 2)), 0.0),
        Outcomes(1, (SIGNED, SliceOutcome(None, 1, b"f" * 32, (None,))), 0.0),
        Outcomes(1, (SIGNED, SliceOutcome(None, 1, b"f" * 32, (b"signature",), {0: REFUSED})), 0.0),
        Outcomes(1, (SIGNED, SliceOutcome(None, 1, b"f" * 32, (b"signature",), {1: REFUSED})), 0.0),
    ],
    ids=[
        "to no chunk",
        "with too few items",
        "with too many items",
        "with too few signatures",
        "with too many signatures",
        "with neither signature nor error",
        "with both",
        "with an error of no digest",
    ],
)
async def test_an_answer_that_does_not_fit_its_chunk_is_nonsense(clock: FakeClock, answer: Outcomes) -> None:
    """Nobody is told of it, and what the lane had is owed still: others sign it."""
    lane, owner, link = linked()
    link.send_chunk(GROUP, slices(1, 1))
    lane.say(answer)
    lane.end(0)
    await link.read_until_end()
    assert lane.killed
    assert not owner.answered
    assert [chunk.digests for chunk in link.abandon()] == [2]


async def test_an_answer_may_refuse_an_item_or_a_digest_of_it(clock: FakeClock) -> None:
    """An item that is refused whole has no signatures."""
    lane, owner, link = linked()
    link.send_chunk(GROUP, slices(3, 2))
    signed = SliceOutcome(None, 1, b"f" * 32, (b"signature", None), {1: REFUSED})
    lane.say(Outcomes(1, (SliceOutcome(REFUSED), signed), 0.0))
    lane.end(0)
    await link.read_until_end()
    assert not lane.killed
    assert len(owner.answered) == 1
    assert not link.abandon()


async def test_a_lane_that_hangs_up_in_a_frame_has_ended(clock: FakeClock) -> None:
    """Half a frame is nothing."""
    lane, owner, link = linked()
    lane.reader.feed_data(b"\x00\x00\x00\x09abc")
    lane.end(-11)
    await link.read_until_end()
    assert not owner.answered


async def test_what_it_owed_is_given_up_in_the_order_of_sending(clock: FakeClock) -> None:
    """Once."""
    _, _, link = linked()
    link.send_chunk(GROUP, slices(1))
    link.send_chunk(GROUP, slices(2))
    assert [chunk.digests for chunk in link.abandon()] == [1, 2]
    assert not link.abandon()


async def test_a_canary_is_owed_and_is_no_use_of_the_lane(clock: FakeClock) -> None:
    """A lane that hangs over it is silent; one that answers has still been idle since its last chunk."""
    lane, owner, link = linked()
    reading = asyncio.ensure_future(link.read_until_end())
    clock.now += 100
    link.ask(SignCanary(5, "release", 1))
    assert lane.canaries == [SignCanary(5, "release", 1)]
    clock.now += 3
    assert (link.silent_s(clock.now), link.idle_s(clock.now)) == (3.0, 0.0)
    lane.say(SignedCanary(5, b"signature"))
    await turn()
    assert owner.canaries == [SignedCanary(5, b"signature")]
    assert (link.silent_s(clock.now), link.idle_s(clock.now)) == (0.0, 103.0)
    lane.end(0)
    await reading
