"""The lanes of one token: started when needed, fed, replaced, and left alone when the token is in doubt."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from queueing.config.secrets import Secret
from queueing.errors import TokenUnavailable
from queueing.protocol.jobs import WireError
from tests.support.fake_lane import FakeClock, FakeHost, FakeJob, turn
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import (
    Outcomes,
    SignCanary,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    SliceOutcome,
    Stop,
)
from workers.lanes.supervisor import connection as link
from workers.lanes.supervisor import process_group as lane_group
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.circuit_breaker import DOUBT_S, LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Circuit
from workers.lanes.supervisor.connection import ChunkSent
from workers.lanes.supervisor.hsm_sharing import HsmShare, SharedHsm
from workers.lanes.supervisor.process_group import SILENCE_GRACE_S
from workers.lanes.supervisor.spawn import LaneSpec
from workers.lanes.supervisor.token_pool import AVOID_S, TokenPool
from workers.state.refused_pins import RefusedPins

GROUP = Group("release", 1, "ECDSA_SHA_256")
SEGV = -11
CALL_TIMEOUT_S = 10.0


@dataclass
class Observer:
    """What was counted."""

    started: int = 0
    ended: list[str | None] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    circuits: list[Circuit] = field(default_factory=list)

    def lane_started(self, token: str, sessions: int) -> None:
        self.started += 1

    def lane_ended(self, token: str, sessions: int, reason: str | None) -> None:
        self.ended.append(reason)

    def lane_failed(self, token: str, reason: str) -> None:
        self.failed.append(reason)

    def chunk_done(self, token: str, chunk: ChunkSent, answer: Outcomes, seconds: float) -> None: ...

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        self.circuits.append(circuit)


@dataclass
class Stand:
    """The lanes of a token on a host of fakes."""

    lanes: TokenPool
    host: FakeHost
    observer: Observer
    clock: FakeClock
    pins: RefusedPins
    pin_file: Path

    async def submit(self, *jobs: FakeJob, count: int = 1) -> None:
        for job in jobs:
            self.lanes.submit(Slice(job, GROUP, 0, count))
        self.lanes.pump()
        await turn()

    async def start(self, *jobs: FakeJob, count: int = 1) -> None:
        """Submit, and the lane that is started for it is ready."""
        await self.submit(*jobs, count=count)
        self.host.lanes[-1].ready()
        await turn()

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.lanes.tick()
        await turn()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context that makes the stand, and ends its lanes."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Stand]:
        host, clock, observer = FakeHost(), FakeClock(), Observer()
        monkeypatch.setattr(lane_group, "spawn_or_connect", host.open_lane)
        monkeypatch.setattr(link, "time", clock)
        pin_file = tmp_path / "pin"
        pin_file.write_text("1234")
        token = TokenSettings(
            module="/m.so",
            select=SelectSettings(label="acme"),
            login=PinLogin(pin_file=str(pin_file)),
            call_timeout_s=CALL_TIMEOUT_S,
        )
        spec = LaneSpec(file=tmp_path / "f", token="acme", tenant="acme", settings=token, sessions=2)
        pins = RefusedPins(tmp_path)
        async with asyncio.TaskGroup() as tasks:
            lanes = TokenPool(
                spec,
                **{
                    "most_lanes": 1,
                    "chunk_target_s": 0.02,
                    "idle_s": 300.0,
                    "poison_crashes": 3,
                    "refused_pins": pins,
                    "tasks": tasks,
                    "observer": observer,
                    "room": lambda: None,
                    "now_s": clock.monotonic,
                    **settings,
                },
            )
            yield Stand(lanes, host, observer, clock, pins, pin_file)
            await lanes.close(CALL_TIMEOUT_S)

    return make


async def test_a_lane_is_started_by_the_first_work_and_fed_when_it_is_ready(stand: Any) -> None:
    """Not before; and its answers reach the jobs."""
    async with stand() as s:
        assert not s.host.lanes
        assert s.lanes.healthy
        job = FakeJob("a")
        await s.submit(job)
        (lane,) = s.host.lanes
        assert not lane.chunks
        lane.ready()
        await turn()
        lane.answer(lane.chunks[0])
        await turn()
        assert job.done == [(0, 1)]
        assert s.observer.started == 1


async def test_at_most_two_chunks_are_in_a_lane(stand: Any) -> None:
    """The next one follows an answer."""
    async with stand() as s:
        await s.start(FakeJob("a"), count=100)
        (lane,) = s.host.lanes
        assert len(lane.chunks) == 2
        lane.answer(lane.chunks[0])
        await turn()
        assert len(lane.chunks) == 3


async def test_what_a_lost_lane_had_is_sent_to_the_next(stand: Any) -> None:
    """In the order in which it was sent; nobody loses anything, and nobody is told of the loss."""
    async with stand() as s:
        job = FakeJob("a")
        await s.start(job, count=8)
        assert [chunk.items[0].first for chunk in s.host.lanes[0].chunks] == [0, 4]
        s.host.lanes[0].end(SEGV)
        await turn()
        assert len(s.host.lanes) == 2
        again = s.host.lanes[1]
        again.ready()
        await turn()
        while len(job.done) < 2:
            again.answer(again.chunks[len(job.done)])
            await turn()
        assert sorted(job.done) == [(0, 4), (4, 4)]
        assert s.observer.ended == ["signal_11"]
        assert not job.unavailable


async def test_only_the_chunk_that_was_being_signed_is_suspect_and_runs_alone(stand: Any) -> None:
    """Its neighbours in the lane's queue go on together; nobody shares a chunk with a suspect."""
    async with stand() as s:
        bad, *good = (FakeJob(name) for name in "abcdefgh")
        await s.start(bad, *good)
        assert [len(chunk.items) for chunk in s.host.lanes[0].chunks] == [4, 4]
        s.host.lanes[0].end(SEGV)
        await turn()
        lane = s.host.lanes[1]
        lane.ready()
        await turn()
        answered = 0
        while answered < len(lane.chunks):
            lane.answer(lane.chunks[answered])
            answered += 1
            await turn()
        assert [len(chunk.items) for chunk in lane.chunks] == [1, 1, 1, 1, 4]
        assert all(job.done == [(0, 1)] for job in (bad, *good))


async def test_a_job_over_which_three_lanes_ended_is_poisoned(stand: Any) -> None:
    """It alone; it is not tried a fourth time."""
    async with stand() as s:
        bad = FakeJob("bad")
        await s.start(bad)
        for attempt in range(3):
            assert not bad.poisoned
            lane = s.host.lanes[attempt]
            if attempt:
                lane.ready()
                await turn()
            assert len(lane.chunks) == 1
            lane.end(5)
            await turn()
        assert bad.poisoned == [(0, 1)]
        assert len(s.host.lanes) == 3
        assert s.observer.ended == ["exit_5"] * 3
        assert s.lanes.healthy


async def test_a_poisoned_job_says_how_its_lanes_ended(stand: Any) -> None:
    """The evidence of its dead letter."""
    async with stand() as s:
        bad = FakeJob("bad")
        await s.start(bad)
        for code in (5, SEGV, 5):
            s.host.lanes[-1].ready()
            await turn()
            s.host.lanes[-1].end(code)
            await turn()
        assert bad.lane_ends == ("exit_5", "signal_11", "exit_5")


async def test_an_hsm_that_fails_in_lane_after_lane_blames_no_job(stand: Any) -> None:
    """Each job is tried twice at most and goes back; after three lanes the token is left alone."""
    async with stand() as s:
        first, second = FakeJob("first"), FakeJob("second")
        await s.start(first, second)
        for _ in range(3):
            lane = s.host.lanes[-1]
            lane.ready()
            await turn()
            lane.fail("CKR_DEVICE_ERROR", LaneExit.REPLACE)
            await turn()
        assert first.poisoned + second.poisoned == []
        assert sorted(first.faulted + first.unavailable + second.faulted + second.unavailable) == [(0, 1)] * 2
        assert not s.lanes.healthy
        assert len(s.host.lanes) == 3


async def test_a_module_that_crashes_at_every_call_takes_one_job_at_most(stand: Any) -> None:
    """After three lanes the token is left alone and the jobs go back, as often as they come; one may be blamed."""
    async with stand() as s:
        jobs = [FakeJob(name) for name in "abcd"]
        for _ in range(5):
            waiting = [job for job in jobs if not job.poisoned]
            await s.submit(*waiting)
            while s.lanes.healthy and s.lanes.load:
                s.host.lanes[-1].ready()
                await turn()
                s.host.lanes[-1].end(SEGV)
                await turn()
            await s.pass_time(LONGEST_PAUSE_S + 1)
        assert sum(bool(job.poisoned) for job in jobs) == 1


async def test_innocent_jobs_get_their_turn_beside_two_that_break_every_lane(stand: Any) -> None:
    """What lanes did over a job is remembered while it is back in the queue; the others are signed first."""
    async with stand() as s:
        bad, good = [FakeJob("bad-1"), FakeJob("bad-2")], [FakeJob("good-1"), FakeJob("good-2")]
        for _ in range(6):
            await s.submit(*(job for job in bad if not job.poisoned), *(job for job in good if not job.done))
            while s.lanes.healthy and s.lanes.load:
                lane = s.host.lanes[-1]
                lane.ready()
                await turn()
                while lane.alive and lane.unanswered:
                    chunk = lane.unanswered[0]
                    if any(item.sealed.startswith(b"bad") for item in chunk.items):
                        lane.end(5)
                    else:
                        lane.answer(chunk)
                    await turn()
            await s.pass_time(LONGEST_PAUSE_S + 1)
        assert [job.done for job in good] == [[(0, 1)], [(0, 1)]]
        assert bad[0].poisoned or bad[1].poisoned


async def test_a_job_that_breaks_lanes_while_others_are_signed_is_set_aside_each_time(stand: Any) -> None:
    """The token signs in between: it is well, and the second bad job is to blame as the first was."""
    async with stand() as s:
        for name in ("bad", "worse"):
            good, bad = FakeJob("good"), FakeJob(name)
            await s.submit(good)
            if s.host.lanes[-1].chunks == []:
                s.host.lanes[-1].ready()
                await turn()
            s.host.lanes[-1].answer(s.host.lanes[-1].chunks[-1])
            await s.submit(bad)
            for _ in range(3):
                s.host.lanes[-1].end(5)
                await turn()
                if s.host.lanes[-1].chunks == [] and not bad.poisoned:
                    s.host.lanes[-1].ready()
                    await turn()
            assert bad.poisoned == [(0, 1)]


async def test_a_token_that_lacks_a_key_is_passed_over_for_a_while(stand: Any) -> None:
    """Another token may have it; after some seconds this one is tried again."""
    async with stand() as s:
        job = FakeJob("a")
        await s.start(job)
        assert not s.lanes.lacks(GROUP.key, GROUP.version)
        s.host.lanes[0].refuse(s.host.lanes[0].chunks[0], TokenUnavailable())
        await turn()
        assert s.lanes.lacks(GROUP.key, GROUP.version)
        assert not s.lanes.lacks(GROUP.key, GROUP.version + 1)
        await s.pass_time(AVOID_S + 0.1)
        assert not s.lanes.lacks(GROUP.key, GROUP.version)


async def test_what_is_held_against_a_token_is_not_forgotten_with_its_last_lane(stand: Any) -> None:
    """It is kept while it matters: else every attempt in an outage would be the first one."""
    async with stand(idle_s=60.0) as s:
        await s.start(FakeJob("a"), FakeJob("b"))
        for _ in range(3):
            s.host.lanes[-1].ready()
            await turn()
            s.host.lanes[-1].fail("CKR_DEVICE_ERROR", LaneExit.REPLACE)
            await turn()
        await s.pass_time(LONGEST_PAUSE_S + 1)
        assert s.lanes.healthy
        assert not s.lanes.idle
        await s.pass_time(61)
        assert s.lanes.idle


async def test_a_lane_that_was_asked_to_end_blames_nobody(stand: Any) -> None:
    """Idle for long enough, it is stopped; the next work starts another."""
    async with stand(idle_s=60.0) as s:
        job = FakeJob("a")
        await s.start(job)
        s.host.lanes[0].answer(s.host.lanes[0].chunks[0])
        await turn()
        await s.pass_time(59)
        assert Stop() not in s.host.lanes[0].sent
        await s.pass_time(2)
        assert s.host.lanes[0].sent[-1] == Stop()
        assert s.observer.ended == [None]
        await s.submit(FakeJob("b"))
        assert len(s.host.lanes) == 2


async def test_a_lane_that_is_silent_for_too_long_is_killed(stand: Any) -> None:
    """A moment after the time in which it would have ended itself."""
    async with stand() as s:
        await s.start(FakeJob("a"))
        await s.pass_time(CALL_TIMEOUT_S + SILENCE_GRACE_S - 1)
        assert not s.host.lanes[0].killed
        await s.pass_time(2)
        assert s.host.lanes[0].killed
        assert len(s.host.lanes) == 2
        assert s.observer.ended == ["silent"]


async def test_a_token_in_doubt_is_left_alone_and_its_jobs_go_back(stand: Any) -> None:
    """The circuit opens, no lane is started and nothing claimed; after the pause it is tried again."""
    async with stand() as s:
        job = FakeJob("a")
        await s.start(job)
        s.host.lanes[0].fail("CKR_DEVICE_REMOVED", LaneExit.CIRCUIT)
        await turn()
        assert job.unavailable == [(0, 1)]
        assert (s.lanes.healthy, s.lanes.capacity(), len(s.host.lanes)) == (False, 0, 1)
        late = FakeJob("late")
        await s.submit(late)
        assert late.unavailable == [(0, 1)]
        await s.pass_time(SHORTEST_PAUSE_S + 0.01)
        assert s.lanes.healthy
        assert s.observer.circuits == [Circuit.OPEN, Circuit.CLOSED]
        assert s.observer.ended == ["CKR_DEVICE_REMOVED"]
        await s.submit(FakeJob("again"))
        assert len(s.host.lanes) == 2


async def test_pauses_grow_to_their_longest_and_an_answer_ends_them(stand: Any) -> None:
    """A token that stays away is asked less and less often."""
    async with stand() as s:
        pauses = []
        s.host.refuse = True
        for _ in range(9):
            await s.submit(FakeJob("a"))
            before = s.clock.now
            while not s.lanes.healthy:
                await s.pass_time(0.25)
            pauses.append(s.clock.now - before)
        assert pauses == sorted(pauses)
        assert pauses[0] == pytest.approx(SHORTEST_PAUSE_S, abs=0.3)
        assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S, abs=0.3)
        s.host.refuse = False
        job = FakeJob("b")
        await s.start(job)
        s.host.lanes[-1].answer(s.host.lanes[-1].chunks[0])
        await turn()
        s.host.lanes[-1].end(LaneExit.CIRCUIT)
        await turn()
        await s.pass_time(SHORTEST_PAUSE_S + 0.01)
        assert s.lanes.healthy


@pytest.mark.parametrize("code", [LaneExit.CONFIG, 1, SEGV])
async def test_a_lane_that_ends_before_it_is_ready_opens_the_circuit(stand: Any, code: int) -> None:
    """Whatever it is, starting another at once would not help."""
    async with stand() as s:
        job = FakeJob("a")
        await s.submit(job)
        s.host.lanes[0].end(code)
        await turn()
        assert job.unavailable == [(0, 1)]
        assert not s.lanes.healthy
        assert len(s.host.lanes) == 1
        assert s.observer.failed == [f"signal_{-code}" if code < 0 else f"exit_{int(code)}"]
        assert s.observer.ended == [], "it was counted as one that had logged in"


async def test_a_lane_that_cannot_be_reached_is_counted(stand: Any) -> None:
    """With the reason that there is none."""
    async with stand() as s:
        s.host.refuse = True
        await s.submit(FakeJob("a"))
        assert s.observer.failed == ["unreachable"]


async def test_a_lane_that_is_stopped_before_it_is_ready_is_not_counted(stand: Any) -> None:
    """It was asked to end."""
    async with stand() as s:
        await s.submit(FakeJob("a"))
    assert (s.observer.failed, s.observer.ended) == ([], [])


async def test_room_is_announced_when_the_circuit_closes(stand: Any) -> None:
    """Who waits for room would find it only by chance: no lane answers anything meanwhile."""
    announced: list[int] = []
    s: Stand
    async with stand(room=lambda: announced.append(s.lanes.capacity())) as s:
        await s.submit(FakeJob("a"))
        s.host.lanes[0].end(LaneExit.CONFIG)
        await turn()
        announced.clear()
        await s.pass_time(SHORTEST_PAUSE_S + 0.01)
        assert announced
        assert announced[-1] > 0


async def test_room_is_announced_when_a_poisoned_job_leaves(stand: Any) -> None:
    """What it filled is free, although no lane has answered."""
    announced: list[int] = []
    s: Stand
    async with stand(poison_crashes=1, room=lambda: announced.append(s.lanes.load)) as s:
        await s.start(FakeJob("bad"), count=4)
        assert s.lanes.capacity() > 0
        announced.clear()
        s.host.lanes[0].end(5)
        await turn()
        assert announced == [0]


async def test_refusals_do_not_teach_how_fast_the_token_is(stand: Any) -> None:
    """They cost no time: a claim is as large as before, a chunk too."""
    async with stand() as s:
        await s.start(FakeJob("a"), count=4)
        before = s.lanes.capacity() + s.lanes.load
        lane = s.host.lanes[0]
        note = WireError("policy.denied")
        lane.say(Outcomes(lane.chunks[0].id, (SliceOutcome(note),), 0.0))
        await turn()
        assert s.lanes.capacity() == before
        await s.submit(FakeJob("b"), count=100)
        assert lane.chunks[-1].items[0].count == 4, "two for each session, as at the start"


async def test_a_chunk_is_measured_by_what_was_signed_in_it(stand: Any) -> None:
    """More than half of it; the digests that were refused are not counted as signed."""
    async with stand(chunk_target_s=0.02) as s:
        await s.start(FakeJob("a"), count=4)
        lane = s.host.lanes[0]
        s.clock.now += 0.003
        item = SliceOutcome(None, 1, b"f", (b"s", b"s", b"s", None), {3: WireError("digest.length")})
        lane.say(Outcomes(lane.chunks[0].id, (item,), 0.0))
        await turn()
        await s.submit(FakeJob("b"), count=100)
        assert lane.chunks[-2].items[0].count == pytest.approx(20, abs=1)


async def refused(s: Stand) -> None:
    """The lane has found the PIN refused, and remembered it."""
    await s.submit(FakeJob("a"))
    s.pins.remember("acme", Secret("1234"))
    s.host.lanes[-1].fail("CKR_PIN_INCORRECT", LaneExit.PIN)
    await turn()
    assert s.observer.circuits[-1] is Circuit.REFUSED


async def test_a_refused_pin_is_not_tried_again_by_time_alone(stand: Any) -> None:
    """Not after any pause."""
    async with stand() as s:
        await refused(s)
        for _ in range(10):
            await s.pass_time(3600)
            await s.submit(FakeJob("b"))
        assert len(s.host.lanes) == 1
        assert not s.lanes.healthy


async def test_a_refused_pin_is_tried_again_when_the_operator_resumes_the_token(stand: Any) -> None:
    """The mark is gone."""
    async with stand() as s:
        await refused(s)
        await s.pass_time(1)
        s.pins.forget("acme")
        await s.pass_time(1)
        assert s.lanes.healthy
        await s.submit(FakeJob("b"))
        assert len(s.host.lanes) == 2


async def test_a_refused_pin_is_looked_at_again_when_its_file_changes(stand: Any) -> None:
    """The lane decides if the PIN in it is another."""
    async with stand() as s:
        await refused(s)
        await s.pass_time(1)
        written = s.pin_file.stat().st_mtime_ns
        os.utime(s.pin_file, ns=(written, written + 1_000_000_000))
        await s.pass_time(1)
        assert s.lanes.healthy
        await refused(s)
        await s.pass_time(1)
        await s.pass_time(1)
        assert not s.lanes.healthy, "one change is one try"


async def test_more_lanes_are_started_while_work_waits(stand: Any) -> None:
    """One after another, as many as there may be."""
    async with stand(most_lanes=3) as s:
        await s.submit(FakeJob("a"), count=200)
        for expected in (1, 2, 3, 3):
            assert len(s.host.lanes) == expected
            s.host.lanes[-1].ready()
            await turn()
        assert all(lane.chunks for lane in s.host.lanes)


@pytest.mark.parametrize("how", ["unreachable", "ends before it is ready"])
async def test_a_further_lane_that_cannot_start_takes_nothing_from_the_one_that_signs(
    stand: Any, how: str
) -> None:
    """No room for another session, or file: the token is well, and signs in the lane that it has."""
    async with stand(most_lanes=2) as s:
        job = FakeJob("a")
        await s.submit(job, count=40)
        s.host.refuse = how == "unreachable"
        s.host.lanes[0].ready()
        await turn()
        if not s.host.refuse:
            s.host.lanes[1].fail("CKR_SESSION_COUNT", LaneExit.CONFIG)
            await turn()
        assert len(s.observer.failed) == 1
        assert s.lanes.healthy
        assert s.observer.circuits == []
        first = s.host.lanes[0]
        while first.unanswered:
            first.answer(first.unanswered[0])
            await turn()
        assert job.unavailable == []
        assert sum(count for _, count in job.done) == 40


async def test_one_lane_more_is_tried_less_and_less_often(stand: Any) -> None:
    """Each attempt costs a process, and a login where it comes so far; one that succeeds ends the pauses."""
    async with stand(most_lanes=2) as s:
        await s.submit(FakeJob("a"), count=200)
        s.host.lanes[0].ready()
        await turn()
        pauses = []
        for attempt in range(1, 10):
            assert len(s.host.lanes) == attempt + 1
            s.host.lanes[-1].end(LaneExit.CONFIG)
            await turn()
            before = s.clock.now
            while len(s.host.lanes) == attempt + 1:
                await s.pass_time(0.5)
                s.host.lanes[0].answer(s.host.lanes[0].unanswered[0])  # it is busy, not silent
                await s.submit(FakeJob("b"), count=200)
            pauses.append(s.clock.now - before)
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        s.host.lanes[-1].ready()
        await turn()
        s.host.lanes[-1].end(SEGV)
        await turn()
        s.host.lanes[-1].end(LaneExit.CONFIG)
        await turn()
        attempts = len(s.host.lanes)
        await s.pass_time(1.0)
        await s.submit(FakeJob("c"))
        assert len(s.host.lanes) == attempts + 1


async def test_the_last_lane_is_replaced_at_once_although_one_more_could_not_be_started(stand: Any) -> None:
    """There is room for that one; and where there is none, the token is left alone."""
    async with stand(most_lanes=2) as s:
        await s.submit(FakeJob("a"), count=200)
        s.host.lanes[0].ready()
        await turn()
        s.host.lanes[1].end(LaneExit.CONFIG)
        await turn()
        assert len(s.host.lanes) == 2
        s.host.lanes[0].end(SEGV)
        await turn()
        assert len(s.host.lanes) == 3
        s.host.lanes[2].end(LaneExit.CONFIG)
        await turn()
        assert not s.lanes.healthy


async def test_nothing_is_claimed_for_a_lane_that_cannot_be_started(stand: Any) -> None:
    """It would wait here, and another worker may have better luck."""
    async with stand(most_lanes=2) as s:
        await s.submit(FakeJob("a"), count=9)
        s.host.lanes[0].ready()
        await turn()
        with_another = s.lanes.capacity()
        s.host.lanes[1].end(LaneExit.CONFIG)
        await turn()
        assert s.lanes.capacity() < with_another


async def test_a_lane_that_says_that_the_token_is_away_speaks_for_all(stand: Any) -> None:
    """It was logged in: the others only have not noticed yet."""
    async with stand(most_lanes=2) as s:
        await s.submit(FakeJob("a"), count=200)
        for number in range(2):
            s.host.lanes[number].ready()
            await turn()
        s.host.lanes[1].fail("CKR_DEVICE_REMOVED", LaneExit.CIRCUIT)
        await turn()
        assert not s.lanes.healthy


async def test_waiting_jobs_are_returned_at_a_drain_and_those_in_the_lane_are_not(stand: Any) -> None:
    """What the HSM has is finished."""
    async with stand() as s:
        early, late = FakeJob("early"), FakeJob("late")
        await s.start(early, count=8)
        await s.submit(late)
        s.lanes.return_waiting()
        assert (early.unavailable, late.unavailable) == ([], [(0, 1)])
        lane = s.host.lanes[0]
        for chunk in lane.chunks:
            lane.answer(chunk)
        await turn()
        assert early.done == [(0, 4), (4, 4)]


async def test_the_rest_of_a_job_that_is_begun_is_finished_at_a_drain(stand: Any) -> None:
    """Given back, what the lane has of it would be signed twice."""
    async with stand() as s:
        job = FakeJob("long")
        await s.start(job, count=20)
        s.lanes.return_waiting(keep_begun=True)
        lane = s.host.lanes[0]
        answered = 0
        while answered < len(lane.chunks):
            lane.answer(lane.chunks[answered])
            answered += 1
            await turn()
        assert not job.unavailable
        assert sum(count for _, count in job.done) == 20


async def test_lanes_that_are_killed_give_back_all_they_had_as_perhaps_signed(stand: Any) -> None:
    """The deadline of a drain: what is in the HSM is not waited for, and nobody is to blame."""
    async with stand() as s:
        job, late = FakeJob("hung"), FakeJob("late")
        await s.start(job, count=8)
        await s.submit(late)
        s.lanes.kill()
        await turn()
        assert sum(count for _, count in job.unavailable) == 8
        assert (job.in_doubt, late.in_doubt) == (True, False)
        assert late.unavailable == [(0, 1)]
        assert s.host.lanes[0].killed
        assert s.observer.ended == [None]


async def test_a_directory_is_signed_by_a_lane_that_is_started_for_it(stand: Any) -> None:
    """And an answer to nobody is nobody's."""
    async with stand() as s:
        asking = asyncio.ensure_future(s.lanes.sign_directory(SignDirectory(1, "acme", 0, 1)))
        await turn()
        lane = s.host.lanes[0]
        lane.ready()
        while not lane.directories:
            await turn()
        lane.say(SignedDirectory(9, b"of another time"))
        lane.say(SignedDirectory(1, b"signed"))
        assert (await asking).signed == b"signed"


async def test_a_directory_is_not_waited_for_while_the_token_is_in_doubt(stand: Any) -> None:
    """The caller tries again later."""
    async with stand() as s:
        s.host.refuse = True
        await s.submit(FakeJob("a"))
        with pytest.raises(TokenUnavailable):
            await s.lanes.sign_directory(SignDirectory(1, "acme", 0, 1))


async def test_a_directory_is_not_waited_for_when_its_lane_is_lost(stand: Any) -> None:
    """The answer will not come: the caller is told at once."""
    async with stand() as s:
        asking = asyncio.ensure_future(s.lanes.sign_directory(SignDirectory(1, "acme", 0, 1)))
        await turn()
        lane = s.host.lanes[0]
        lane.ready()
        while not lane.directories:
            await turn()
        lane.end(SEGV)
        await turn(50)
        assert asking.done(), "it waits for a lane that is gone"
        with pytest.raises(TokenUnavailable):
            await asking


async def test_a_directory_is_not_waited_for_when_its_lane_does_not_become_ready(stand: Any) -> None:
    """The token is in doubt from then on: the caller is told at once."""
    async with stand() as s:
        asking = asyncio.ensure_future(s.lanes.sign_directory(SignDirectory(1, "acme", 0, 1)))
        await turn()
        s.host.lanes[0].end(SEGV)
        await turn()
        assert asking.done(), "it waits for a lane that is gone"
        with pytest.raises(TokenUnavailable):
            await asking


async def test_directories_wait_for_one_lane_together(stand: Any) -> None:
    """None is lost; one that nobody waits for any more is not asked for."""
    async with stand() as s:
        asking = [
            asyncio.ensure_future(s.lanes.sign_directory(SignDirectory(i, "acme", 0, 1))) for i in range(3)
        ]
        await turn()
        asking[0].cancel()
        await turn()
        (lane,) = s.host.lanes
        lane.ready()
        await turn()
        assert [request.id for request in lane.directories] == [1, 2]
        for request in lane.directories:
            lane.say(SignedDirectory(request.id, b"%d" % request.id))
        await turn()
        assert [(await each).signed for each in asking[1:]] == [b"1", b"2"]


async def test_a_directory_waits_for_the_lane_after_one_that_is_stopping(stand: Any) -> None:
    """An idle lane was asked to end just before."""
    async with stand(idle_s=60.0) as s:
        await s.start(FakeJob("a"))
        s.host.lanes[0].answer(s.host.lanes[0].chunks[0])
        await turn()
        s.clock.now += 61
        s.lanes.tick()
        asking = asyncio.ensure_future(s.lanes.sign_directory(SignDirectory(1, "acme", 0, 1)))
        await turn()
        s.host.lanes[1].ready()
        await turn()
        s.host.lanes[1].say(SignedDirectory(1, b"signed"))
        assert (await asking).signed == b"signed"
        assert not s.host.lanes[0].directories


async def test_closing_asks_every_lane_to_end(stand: Any) -> None:
    """Nothing is started any more."""
    async with stand(most_lanes=2) as s:
        await s.start(FakeJob("a"))
    assert all(lane.sent[-1] == Stop() for lane in s.host.lanes)
    assert s.lanes.capacity() == 0


async def test_a_drained_token_finishes_what_its_lanes_have_and_logs_out(stand: Any) -> None:
    """What no lane has goes back, what comes goes back, and the lane ends when it has answered."""
    async with stand() as s:
        first, second, third, late = (FakeJob(name) for name in "abcd")
        await s.start(first, count=4)
        await s.submit(second, count=4)
        await s.submit(third, count=4)
        (lane,) = s.host.lanes
        assert len(lane.unanswered) == 2
        s.lanes.drain()
        await s.submit(late)
        assert (third.unavailable, late.unavailable) == ([(0, 4)], [(0, 1)])
        assert not s.lanes.healthy
        assert s.lanes.capacity() == 0
        assert lane.alive
        for chunk in lane.unanswered:
            lane.answer(chunk)
        await turn()
        await s.pass_time(0.5)
        assert (first.done, second.done) == ([(0, 4)], [(0, 4)])
        assert not lane.alive
        assert s.observer.ended == [None]
        s.lanes.resume()
        assert s.lanes.healthy
        again = FakeJob("again")
        await s.submit(again)
        assert len(s.host.lanes) == 2


async def test_a_lane_that_was_starting_when_its_token_was_drained_ends(stand: Any) -> None:
    """It has nothing to do, and no other is started."""
    async with stand() as s:
        job = FakeJob("a")
        await s.submit(job)
        s.lanes.drain()
        assert job.unavailable == [(0, 1)]
        await s.pass_time(0.5)
        assert not s.host.lanes[0].alive
        assert len(s.host.lanes) == 1


async def test_work_that_comes_when_the_lanes_were_retired_goes_back(stand: Any) -> None:
    """It was on its way to them while they were: no lane will be started, and nobody else would give it back."""
    async with stand() as s:
        s.lanes.retire()
        job = FakeJob("late")
        await s.submit(job)
        assert job.unavailable == [(0, 1)]
        assert not s.host.lanes


async def test_retired_lanes_finish_what_they_have_and_give_back_what_comes(stand: Any) -> None:
    """The lane ends when it has answered."""
    async with stand() as s:
        early, late = FakeJob("early"), FakeJob("late")
        await s.start(early)
        (lane,) = s.host.lanes
        lane.answer(lane.chunks[0])
        s.lanes.retire()
        await s.submit(late)
        assert (early.done, late.unavailable) == ([(0, 1)], [(0, 1)])
        assert s.lanes.gone


def on_a_full_device(s: Stand) -> HsmShare:
    """Its token shares a device with another one, which has all of it."""
    budget = SharedHsm(2)
    other = budget.join(operations=2, weight=lambda: 1.0, wake=lambda: None)
    other.began("its lane")
    s.lanes.share_hsm(budget, lambda: 1.0)
    return other


async def test_a_token_that_is_drained_while_it_waits_for_a_shared_device_leaves_it_to_the_others(
    stand: Any,
) -> None:
    """It wants nothing any more: nobody gives way to it."""
    async with stand() as s:
        other = on_a_full_device(s)
        job = FakeJob("a")
        await s.start(job)
        assert not s.host.lanes[0].chunks
        assert not other.may_send("its lane"), "the device is to be shared"
        s.lanes.drain()
        assert job.unavailable == [(0, 1)]
        assert other.may_send("its lane")


CANARY = SignCanary(1, "release", 1)


async def test_a_canary_starts_no_lane(stand: Any) -> None:
    """Where none is logged in, it is not signed; one that is about to be ready is not waited for."""
    async with stand() as s:
        with pytest.raises(TokenUnavailable):
            await s.lanes.sign_canary(CANARY)
        await turn()
        assert not s.host.lanes
        await s.submit(FakeJob("a"))
        assert not s.lanes.takes_canaries
        with pytest.raises(TokenUnavailable):
            await s.lanes.sign_canary(CANARY)


async def test_a_canary_is_signed_by_a_lane_that_runs(stand: Any) -> None:
    """Each lane in its turn, by the number of the request."""
    async with stand(most_lanes=2) as s:
        await s.start(FakeJob("a"), count=8)
        await s.submit(FakeJob("b"), count=8)
        s.host.lanes[1].ready()
        await turn()
        for number in (2, 3):
            asking = asyncio.ensure_future(s.lanes.sign_canary(SignCanary(number, "release", 1)))
            await turn()
            lane = s.host.lanes[number % 2]
            assert [canary.id for canary in lane.canaries] == [number]
            lane.say(SignedCanary(number, b"signature"))
            assert (await asking).signature == b"signature"


async def test_a_canary_ends_with_its_lane(stand: Any) -> None:
    """Nobody signs it again: the next one is due soon enough."""
    async with stand() as s:
        await s.start(FakeJob("a"))
        asking = asyncio.ensure_future(s.lanes.sign_canary(CANARY))
        await turn()
        s.host.lanes[0].end(SEGV)
        with pytest.raises(TokenUnavailable):
            await asking


async def test_a_lane_that_hangs_over_a_canary_is_ended(stand: Any) -> None:
    """As over any other work."""
    async with stand() as s:
        await s.start(FakeJob("a"))
        s.host.lanes[0].answer(s.host.lanes[0].chunks[0])
        await turn()
        asking = asyncio.ensure_future(s.lanes.sign_canary(CANARY))
        await turn()
        await s.pass_time(CALL_TIMEOUT_S + SILENCE_GRACE_S + 1)
        assert s.host.lanes[0].killed
        with pytest.raises(TokenUnavailable):
            await asking


async def test_canaries_keep_no_idle_lane(stand: Any) -> None:
    """It ends when nobody had work for it, however many canaries it signed meanwhile."""
    async with stand(idle_s=300.0) as s:
        await s.start(FakeJob("a"))
        (lane,) = s.host.lanes
        lane.answer(lane.chunks[0])
        await turn()
        for number in range(1, 5):
            await s.pass_time(70)
            asking = asyncio.ensure_future(s.lanes.sign_canary(SignCanary(number, "release", 1)))
            await turn()
            lane.say(SignedCanary(number, b"signature"))
            await asking
        assert lane.alive
        await s.pass_time(70)
        assert not lane.alive


async def test_a_lane_of_an_older_version_is_asked_for_none(stand: Any) -> None:
    """It would take the request for nonsense, and end."""
    async with stand() as s:
        await s.submit(FakeJob("a"))
        s.host.lanes[0].ready(canaries=False)
        await turn()
        assert s.lanes.can_sign
        assert not s.lanes.takes_canaries


async def test_a_token_is_in_doubt_until_it_signs_again(stand: Any) -> None:
    """Also while it is tried again; a canary that is signed ends it as a chunk does."""
    async with stand() as s:
        assert not s.lanes.in_doubt
        await s.submit(FakeJob("a"))
        s.host.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
        assert s.lanes.in_doubt
        await s.pass_time(SHORTEST_PAUSE_S)
        assert s.lanes.healthy
        assert s.lanes.in_doubt
        await s.submit(FakeJob("b"))
        s.host.lanes[1].ready()
        await turn()
        assert s.lanes.in_doubt
        asking = asyncio.ensure_future(s.lanes.sign_canary(CANARY))
        await turn()
        s.host.lanes[1].say(SignedCanary(1, b"", WireError.of(TokenUnavailable())))
        await asking
        assert s.lanes.in_doubt
        s.host.lanes[1].answer(s.host.lanes[1].chunks[0])
        await turn()
        assert not s.lanes.in_doubt


async def test_a_token_that_nobody_tries_is_not_in_doubt_for_ever(stand: Any) -> None:
    """Nobody knows whether it is still away."""
    async with stand() as s:
        await s.submit(FakeJob("a"))
        s.host.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
        await s.pass_time(DOUBT_S - 1)
        assert s.lanes.in_doubt
        await s.pass_time(1)
        assert not s.lanes.in_doubt


async def test_the_doubt_about_a_token_is_not_forgotten_with_its_lanes(stand: Any) -> None:
    """Between two tries it has no lane and no work: whoever forgot it then would try it as if it had never failed."""
    async with stand() as s:
        await s.submit(FakeJob("a"))
        s.host.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
        await s.pass_time(SHORTEST_PAUSE_S)
        assert s.lanes.healthy
        assert not s.lanes.idle


async def work_off(s: Stand, each_s: float) -> None:
    """Every lane answers what it has, at so much a digest."""
    while busy := [(lane, lane.unanswered[0]) for lane in s.host.lanes if lane.unanswered]:
        s.clock.now += each_s * max(sum(item.count for item in chunk.items) for _, chunk in busy)
        for lane, chunk in busy:
            lane.answer(chunk)
        await turn()


@pytest.mark.parametrize(
    "digests, parts", [(64, [32, 32]), (300, [47, 47]), (2, [2])], ids=["little", "much", "too little"]
)
async def test_what_is_little_is_divided_among_lanes_that_have_nothing(
    stand: Any, digests: int, parts: list[int]
) -> None:
    """A lone envelope is done in half the time. A chunk is no larger than ever (0.1 s by what was measured here), and what
    takes 5 ms is not worth dividing.
    """
    async with stand(most_lanes=2, chunk_target_s=0.1) as s:
        await s.start(FakeJob("first"), count=400)
        s.host.lanes[1].ready()
        await turn()
        await work_off(s, 0.002)
        before = [len(lane.chunks) for lane in s.host.lanes]
        await s.submit(FakeJob("lone"), count=digests)
        firsts = [lane.chunks[n:][:1] for lane, n in zip(s.host.lanes, before, strict=True)]
        assert [item.count for chunks in firsts for chunk in chunks for item in chunk.items] == parts
        await work_off(s, 0.002)
