"""Connection to one lane: outstanding chunks, silence, and invalid messages."""

from __future__ import annotations

import asyncio

import pytest

from queueing.protocol.jobs import WireError
from tests.support.fakes.fake_lane import FakeClock, FakeJob, FakeLane
from tests.support.waiting import turn
from workers.lanes.protocol import (
    Alive,
    Outcomes,
    Ready,
    Reloaded,
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


class Listener:
    """Keeps what a connection reports."""

    def __init__(self) -> None:
        self.answered: list[tuple[ChunkSent, Outcomes, float]] = []
        self.directories: list[SignedDirectory] = []
        self.canaries: list[SignedCanary] = []
        self.objection = ""

    def objection_to(self, _: Ready) -> str:
        return self.objection

    def chunk_answered(self, lane: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        self.answered.append((chunk, answer, busy_s))

    def request_answered(self, answer: SignedDirectory | SignedCanary) -> None:
        if isinstance(answer, SignedDirectory):
            self.directories.append(answer)
        else:
            self.canaries.append(answer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(module, "time", fake)
    return fake


def connected() -> tuple[FakeLane, Listener, LaneConnection]:
    lane, listener = FakeLane(), Listener()
    return lane, listener, LaneConnection(lane, listener, listener)  # type: ignore[arg-type]


def slices(*counts: int) -> list[Slice]:
    return [Slice(FakeJob(f"job-{i}"), GROUP, i, count) for i, count in enumerate(counts)]


async def test_a_chunk_names_its_envelopes_and_ranges(clock: FakeClock) -> None:
    """The chunk is outstanding until it is answered."""
    lane, listener, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    connection.send_chunk(GROUP, slices(3, 4))
    (chunk,) = lane.chunks
    assert [(item.sealed, item.first, item.count) for item in chunk.items] == [
        (b"job-0", 0, 3),
        (b"job-1", 1, 4),
    ]
    assert (connection.busy, connection.digests_outstanding) == (True, 7)
    lane.answer(chunk)
    await turn()
    assert (connection.busy, connection.digests_outstanding) == (False, 0)
    assert len(listener.answered) == 1
    lane.end(0)
    await reading


async def test_sessions_are_known_when_the_lane_is_ready(clock: FakeClock) -> None:
    """A lane that is not ready has no sessions."""
    lane, _, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    assert (connection.sessions, connection.became_ready.is_set()) == (0, False)
    lane.ready(3)
    await turn()
    assert (connection.sessions, connection.became_ready.is_set()) == (3, True)
    lane.end(0)
    await reading


async def test_the_epoch_of_a_lane_is_that_of_its_login_and_then_of_each_reload(clock: FakeClock) -> None:
    """By it a refusal is final or not. A lane of a former version says none when it logs in."""
    lane, _, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    lane.say(Ready(1, 2, 2, "module", tenant_epoch=4))
    await turn()
    assert connection.tenant_epoch == 4
    connection.reload((), 5.0, files=True)
    lane.say(Reloaded(1, 1, 5, ""))
    lane.say(Ready(1, 2, 2, "module", tenant_epoch=4))
    await turn()
    assert connection.tenant_epoch == 5
    lane.end(0)
    await reading
    older, _, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    older.say(Ready(1, 2, 2, "module"))
    await turn()
    assert connection.tenant_epoch is None
    older.end(0)
    await reading


async def test_the_time_of_a_chunk_begins_when_the_one_before_it_is_done(clock: FakeClock) -> None:
    """Time in the queue behind another chunk does not count."""
    lane, listener, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    connection.send_chunk(GROUP, slices(1))
    connection.send_chunk(GROUP, slices(1))
    clock.now += 2.0
    lane.answer(lane.chunks[0])
    await turn()
    clock.now += 0.5
    lane.answer(lane.chunks[1])
    await turn()
    assert [busy_s for _, _, busy_s in listener.answered] == [2.0, 0.5]
    lane.end(0)
    await reading


async def test_silence_counts_only_while_it_owes_something(clock: FakeClock) -> None:
    """The silence ends with any message, also a mere sign of life."""
    lane, _, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    clock.now += 100
    assert connection.silent_s(clock.now) == 0.0
    assert connection.idle_s(clock.now) == 100.0
    connection.send_chunk(GROUP, slices(1))
    clock.now += 3
    assert (connection.silent_s(clock.now), connection.idle_s(clock.now)) == (3.0, 0.0)
    lane.say(Alive())
    await turn()
    assert connection.silent_s(clock.now) == 0.0
    lane.end(0)
    await reading


async def test_a_signed_directory_is_passed_on(clock: FakeClock) -> None:
    """The lane is busy until it has answered; the answer is passed on."""
    lane, listener, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    connection.send_request(SignDirectory(5, "acme", 0, 1))
    assert lane.directories == [SignDirectory(5, "acme", 0, 1)]
    busy = [connection.busy]
    lane.say(SignedDirectory(5, b"signed"))
    await turn()
    busy.append(connection.busy)
    assert listener.directories == [SignedDirectory(5, b"signed")]
    assert busy == [True, False]
    lane.end(0)
    await reading


async def test_a_lane_is_stopped_by_a_message(clock: FakeClock) -> None:
    """The lane is sent Stop and is not killed."""
    lane, _, connection = connected()
    connection.stop()
    assert connection.stopping
    assert lane.sent == [Stop()]
    assert not lane.killed


@pytest.mark.parametrize(
    "invalid",
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x00"],
    ids=["a frame without end", "no message", "an empty frame"],
)
async def test_a_lane_that_sends_an_invalid_message_is_killed(clock: FakeClock, invalid: bytes) -> None:
    """A frame of too many bytes, of no message, or of no bytes at all."""
    lane, _, connection = connected()
    lane.reader.feed_data(invalid)
    await connection.read_until_end()
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
async def test_an_answer_that_does_not_fit_its_chunk_is_invalid(clock: FakeClock, answer: Outcomes) -> None:
    """The answer is not passed on, and the chunk stays outstanding, to be signed by another lane."""
    lane, listener, connection = connected()
    connection.send_chunk(GROUP, slices(1, 1))
    lane.say(answer)
    lane.end(0)
    await connection.read_until_end()
    assert lane.killed
    assert not listener.answered
    assert [chunk.digests for chunk in connection.take_outstanding()] == [2]


async def test_an_invalid_time_leaves_the_chunk_to_another_lane(clock: FakeClock) -> None:
    """The lane is killed before anything of its answer is used."""
    lane, listener, connection = connected()
    connection.send_chunk(GROUP, slices(1))
    lane.say(Outcomes(1, (SIGNED,), 0.0, -1.0))
    await connection.read_until_end()
    assert lane.killed
    assert "sign" in connection.invalid or "float" in connection.invalid
    assert not listener.answered
    assert [chunk.digests for chunk in connection.take_outstanding()] == [1]


async def test_two_different_logins_are_invalid(clock: FakeClock) -> None:
    """The number of sessions is that of the login: gauges would drift apart."""
    lane, _, connection = connected()
    lane.ready(2)
    lane.ready(5)
    await connection.read_until_end()
    assert lane.killed
    assert connection.sessions == 2


async def test_an_answer_to_no_request_is_ignored(clock: FakeClock) -> None:
    """It neither reaches the listener nor counts as an answer that is owed."""
    lane, listener, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    lane.say(SignedCanary(3, b"signature"))
    lane.say(SignedDirectory(3, b"signed"))
    await turn()
    assert not connection.busy
    assert not listener.canaries
    assert not listener.directories
    lane.end(0)
    await reading


async def test_an_answer_may_refuse_an_item_or_a_digest_of_it(clock: FakeClock) -> None:
    """A slice that is refused whole has no signatures."""
    lane, listener, connection = connected()
    connection.send_chunk(GROUP, slices(3, 2))
    signed = SliceOutcome(None, 1, b"f" * 32, (b"signature", None), {1: REFUSED})
    lane.say(Outcomes(1, (SliceOutcome(REFUSED), signed), 0.0))
    lane.end(0)
    await connection.read_until_end()
    assert not lane.killed
    assert len(listener.answered) == 1
    assert not connection.take_outstanding()


async def test_a_lane_that_hangs_up_in_a_frame_has_ended(clock: FakeClock) -> None:
    """A part of a frame is ignored."""
    lane, listener, connection = connected()
    lane.reader.feed_data(b"\x00\x00\x00\x09abc")
    lane.end(-11)
    await connection.read_until_end()
    assert not listener.answered


async def test_outstanding_chunks_are_taken_in_the_order_of_sending(clock: FakeClock) -> None:
    """A second call returns nothing."""
    _, _, connection = connected()
    connection.send_chunk(GROUP, slices(1))
    connection.send_chunk(GROUP, slices(2))
    assert [chunk.digests for chunk in connection.take_outstanding()] == [1, 2]
    assert not connection.take_outstanding()


async def test_a_canary_is_owed_and_is_no_use_of_the_lane(clock: FakeClock) -> None:
    """A lane that hangs over it is silent; one that answers has still been idle since its last chunk."""
    lane, listener, connection = connected()
    reading = asyncio.ensure_future(connection.read_until_end())
    clock.now += 100
    connection.send_request(SignCanary(5, "release", 1))
    assert lane.canaries == [SignCanary(5, "release", 1)]
    clock.now += 3
    assert (connection.silent_s(clock.now), connection.idle_s(clock.now)) == (3.0, 0.0)
    lane.say(SignedCanary(5, b"signature"))
    await turn()
    assert listener.canaries == [SignedCanary(5, b"signature")]
    assert (connection.silent_s(clock.now), connection.idle_s(clock.now)) == (0.0, 103.0)
    lane.end(0)
    await reading


async def test_a_lane_whose_token_is_another_owners_is_killed(clock: FakeClock) -> None:
    """It is never ready, so it is given no work."""
    lane, listener, connection = connected()
    listener.objection = "token.shared"
    reading = asyncio.ensure_future(connection.read_until_end())
    lane.ready(3)
    await turn()
    assert (connection.sessions, connection.became_ready.is_set(), lane.killed) == (0, False, True)
    assert connection.failure is not None
    assert connection.failure.code_name == "token.shared"
    reading.cancel()
