"""Circuit breaker of a token pool: when it opens, what that does to jobs and lanes, and when the token is tried again."""

from __future__ import annotations

import asyncio
import os

import pytest

from queueing.config.secrets import Secret
from queueing.errors import ClientRevoked, TokenUnavailable
from queueing.protocol.jobs import WireError
from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import SEGV, MakePool, PoolSetup
from tests.support.waiting import turn
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import SignCanary, SignedCanary
from workers.lanes.supervisor.circuit_breaker import DOUBT_S, LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Circuit


async def test_an_open_circuit_requeues_the_jobs_and_starts_no_lane(make_pool: MakePool) -> None:
    """Nothing is claimed for the token meanwhile; after the pause it is tried again."""
    async with make_pool() as setup:
        job = FakeJob("a")
        await setup.start(job)
        setup.lanes[0].fail("CKR_DEVICE_REMOVED", LaneExit.CIRCUIT)
        await turn()
        assert job.unavailable == [(0, 1)]
        assert (setup.healthy(), setup.pool.capacity(), len(setup.lanes)) == (False, 0, 1)
        late = FakeJob("late")
        await setup.submit(late)
        assert late.unavailable == [(0, 1)]
        await setup.pass_time(SHORTEST_PAUSE_S + 0.01)
        assert setup.healthy()
        assert setup.observer.circuits == [Circuit.OPEN, Circuit.CLOSED]
        assert setup.observer.ended == ["CKR_DEVICE_REMOVED"]
        await setup.submit(FakeJob("again"))
        assert len(setup.lanes) == 2


async def test_pauses_grow_to_their_longest_and_an_answer_ends_them(make_pool: MakePool) -> None:
    """A token that stays away is tried less and less often; after a signature the next pause is the shortest again."""
    async with make_pool() as setup:
        pauses = []
        setup.host.refuse = True
        for _ in range(9):
            await setup.submit(FakeJob("a"))
            before = setup.clock.now
            while not setup.healthy():
                await setup.pass_time(0.25)
            pauses.append(setup.clock.now - before)
        assert pauses == sorted(pauses)
        assert pauses[0] == pytest.approx(SHORTEST_PAUSE_S, abs=0.3)
        assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S, abs=0.3)
        setup.host.refuse = False
        job = FakeJob("b")
        await setup.start(job)
        setup.lanes[-1].answer(setup.lanes[-1].chunks[0])
        await turn()
        setup.lanes[-1].end(LaneExit.CIRCUIT)
        await turn()
        await setup.pass_time(SHORTEST_PAUSE_S + 0.01)
        assert setup.healthy()


@pytest.mark.parametrize("code", [LaneExit.CONFIG, 1, SEGV])
async def test_a_lane_that_ends_before_it_is_ready_opens_the_circuit(make_pool: MakePool, code: int) -> None:
    """No other lane is started, whatever the exit code, and its job is requeued."""
    async with make_pool() as setup:
        job = FakeJob("a")
        await setup.submit(job)
        setup.lanes[0].end(code)
        await turn()
        assert job.unavailable == [(0, 1)]
        assert not setup.healthy()
        assert len(setup.lanes) == 1
        assert setup.observer.failed == [f"signal_{-code}" if code < 0 else f"exit_{int(code)}"]
        assert setup.observer.ended == [], "it was counted as one that had logged in"


async def test_a_lane_that_cannot_be_reached_is_counted(make_pool: MakePool) -> None:
    """It counts as a failed lane with the reason `unreachable`."""
    async with make_pool() as setup:
        setup.host.refuse = True
        await setup.submit(FakeJob("a"))
        assert setup.observer.failed == ["unreachable"]


async def refused(setup: PoolSetup, *, file_changes: bool = False) -> None:
    """The lane has found the PIN refused, and remembered it; meanwhile its file is changed, or not."""
    await setup.submit(FakeJob("a"))
    if file_changes:
        change_pin_file(setup)
    setup.pins.remember("acme", Secret("1234"))
    setup.lanes[-1].fail("CKR_PIN_INCORRECT", LaneExit.PIN)
    await turn()
    assert setup.observer.circuits[-1] is Circuit.REFUSED


def change_pin_file(setup: PoolSetup) -> None:
    written = setup.pin_file.stat().st_mtime_ns
    os.utime(setup.pin_file, ns=(written, written + 1_000_000_000))


async def test_a_refused_pin_is_not_tried_again_by_time_alone(make_pool: MakePool) -> None:
    """No lane is started for it after any pause."""
    async with make_pool() as setup:
        await refused(setup)
        for _ in range(10):
            await setup.pass_time(3600)
            await setup.submit(FakeJob("b"))
        assert len(setup.lanes) == 1
        assert not setup.healthy()


async def test_a_refused_pin_is_tried_again_when_the_operator_resumes_the_token(make_pool: MakePool) -> None:
    """Resuming removes the mark of the refused PIN, and a lane is started for the next job."""
    async with make_pool() as setup:
        await refused(setup)
        await setup.pass_time(1)
        setup.pins.forget("acme")
        await setup.pass_time(1)
        assert setup.healthy()
        await setup.submit(FakeJob("b"))
        assert len(setup.lanes) == 2


async def test_a_changed_pin_file_is_tried_once(make_pool: MakePool) -> None:
    """A lane is started, and decides whether the PIN in the file is another."""
    async with make_pool() as setup:
        await refused(setup)
        await setup.pass_time(1)
        change_pin_file(setup)
        await setup.pass_time(1)
        assert setup.healthy()
        await refused(setup)
        await setup.pass_time(1)
        await setup.pass_time(1)
        assert not setup.healthy(), "one change is one try"


async def test_a_pin_file_that_changes_while_the_lane_logs_in_is_tried(make_pool: MakePool) -> None:
    """The lane had read the PIN before; nothing else would show that the operator has replaced it."""
    async with make_pool() as setup:
        await refused(setup, file_changes=True)
        await setup.pass_time(0.5)
        assert setup.healthy()


async def test_one_lane_that_reports_the_token_away_opens_the_circuit(make_pool: MakePool) -> None:
    """It was logged in; the other lane has only not noticed."""
    async with make_pool(most_lanes=2) as setup:
        await setup.submit(FakeJob("a"), count=200)
        for number in range(2):
            setup.lanes[number].ready()
            await turn()
        setup.lanes[1].fail("CKR_DEVICE_REMOVED", LaneExit.CIRCUIT)
        await turn()
        assert not setup.healthy()


async def test_a_token_is_in_doubt_until_it_signs_again(make_pool: MakePool) -> None:
    """It is in doubt also while it is tried again, and after a canary or a chunk that was refused."""
    async with make_pool() as setup:
        assert not setup.in_doubt()
        await setup.submit(FakeJob("a"))
        setup.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
        assert setup.in_doubt()
        await setup.pass_time(SHORTEST_PAUSE_S)
        assert setup.healthy()
        assert setup.in_doubt()
        await setup.submit(FakeJob("b"))
        setup.lanes[1].ready()
        await turn()
        assert setup.in_doubt()
        asking = asyncio.ensure_future(setup.pool.requests.sign_canary(SignCanary(1, "release", 1)))
        await turn()
        setup.lanes[1].say(SignedCanary(1, b"", WireError.of(TokenUnavailable())))
        await asking
        assert setup.in_doubt()
        setup.lanes[1].refuse(setup.lanes[1].chunks[0], ClientRevoked())
        await setup.submit(FakeJob("c"))
        assert setup.in_doubt()
        setup.lanes[1].answer(setup.lanes[1].chunks[1])
        await turn()
        assert not setup.in_doubt()


async def test_the_doubt_about_a_token_that_is_not_tried_ends(make_pool: MakePool) -> None:
    """After a minute without an attempt nothing is known about it."""
    async with make_pool() as setup:
        await setup.submit(FakeJob("a"))
        setup.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
        await setup.pass_time(DOUBT_S - 1)
        assert setup.in_doubt()
        await setup.pass_time(1)
        assert not setup.in_doubt()


async def test_a_pool_in_doubt_is_not_idle(make_pool: MakePool) -> None:
    """Between two attempts it has no lane and no work; forgotten then, it would be tried as if it had never failed."""
    async with make_pool() as setup:
        await setup.submit(FakeJob("a"))
        setup.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
        await setup.pass_time(SHORTEST_PAUSE_S)
        assert setup.healthy()
        assert not setup.idle()
