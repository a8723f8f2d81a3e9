"""Requests to lanes: a directory waits for a lane, a canary does not."""

from __future__ import annotations

import asyncio

import pytest

from queueing.errors import TokenUnavailable
from tests.support.fakes.fake_lane import FakeJob, FakeLane
from tests.support.fakes.token_pools import CALL_TIMEOUT_S, SEGV, MakePool, PoolSetup
from tests.support.waiting import turn
from workers.lanes.protocol import (
    SignCanary,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    SignStatement,
)
from workers.lanes.supervisor.process_group import SILENCE_GRACE_S


async def asked(setup: PoolSetup) -> tuple[asyncio.Future[SignedDirectory], FakeLane]:
    """A request for a directory, and the lane that was started for it and has it."""
    asking = asyncio.ensure_future(setup.pool.requests.sign_directory(SignDirectory(1, "acme", 0, 1)))
    await turn()
    lane = setup.lanes[0]
    lane.ready()
    while not lane.directories:
        await turn()
    return asking, lane


async def test_a_directory_is_signed_by_a_lane_that_is_started_for_it(make_pool: MakePool) -> None:
    """An answer to another request is ignored."""
    async with make_pool() as setup:
        asking, lane = await asked(setup)
        lane.say(SignedDirectory(9, b"of another time"))
        lane.say(SignedDirectory(1, b"signed"))
        assert (await asking).signed == b"signed"


async def test_a_directory_fails_at_once_while_the_circuit_is_open(make_pool: MakePool) -> None:
    """The caller tries again later."""
    async with make_pool() as setup:
        setup.host.refuse = True
        await setup.submit(FakeJob("a"))
        with pytest.raises(TokenUnavailable):
            await setup.pool.requests.sign_directory(SignDirectory(1, "acme", 0, 1))


async def test_a_directory_fails_at_once_when_its_lane_exits(make_pool: MakePool) -> None:
    """The answer will not come, and the caller is not kept until the timeout."""
    async with make_pool() as setup:
        asking, lane = await asked(setup)
        lane.end(SEGV)
        await turn(50)
        assert asking.done(), "it waits for a lane that is gone"
        with pytest.raises(TokenUnavailable):
            await asking


async def test_a_directory_fails_at_once_when_its_lane_does_not_become_ready(make_pool: MakePool) -> None:
    """The circuit breaker opens, and the caller is not kept until the timeout."""
    async with make_pool() as setup:
        asking = asyncio.ensure_future(setup.pool.requests.sign_directory(SignDirectory(1, "acme", 0, 1)))
        await turn()
        setup.lanes[0].end(SEGV)
        await turn()
        assert not setup.healthy()
        assert asking.done(), "it waits for a lane that is gone"
        with pytest.raises(TokenUnavailable):
            await asking


async def test_directories_wait_for_one_lane_together(make_pool: MakePool) -> None:
    """Each has its own answer; one whose caller was cancelled is not sent."""
    async with make_pool() as setup:
        asking = [
            asyncio.ensure_future(setup.pool.requests.sign_directory(SignDirectory(i, "acme", 0, 1)))
            for i in range(3)
        ]
        await turn()
        asking[0].cancel()
        await turn()
        (lane,) = setup.lanes
        lane.ready()
        await turn()
        assert [request.id for request in lane.directories] == [1, 2]
        for request in lane.directories:
            lane.say(SignedDirectory(request.id, b"%d" % request.id))
        await turn()
        assert [(await each).signed for each in asking[1:]] == [b"1", b"2"]


async def test_a_directory_waits_for_the_lane_after_one_that_is_stopping(make_pool: MakePool) -> None:
    """A lane that was told to stop is sent no request; another is started."""
    async with make_pool(idle_s=60.0) as setup:
        await setup.start(FakeJob("a"))
        setup.lanes[0].answer(setup.lanes[0].chunks[0])
        await turn()
        setup.clock.now += 61
        setup.pool.tick()
        asking = asyncio.ensure_future(setup.pool.requests.sign_directory(SignDirectory(1, "acme", 0, 1)))
        await turn()
        setup.lanes[1].ready()
        await turn()
        setup.lanes[1].say(SignedDirectory(1, b"signed"))
        assert (await asking).signed == b"signed"
        assert not setup.lanes[0].directories


CANARY = SignCanary(1, "release", 1)


async def test_a_canary_starts_no_lane(make_pool: MakePool) -> None:
    """It fails where no lane is logged in, also while one is starting."""
    async with make_pool() as setup:
        with pytest.raises(TokenUnavailable):
            await setup.pool.requests.sign_canary(CANARY)
        await turn()
        assert not setup.lanes
        await setup.submit(FakeJob("a"))
        assert not setup.pool.requests.takes_canaries
        with pytest.raises(TokenUnavailable):
            await setup.pool.requests.sign_canary(CANARY)


async def test_canaries_are_signed_by_the_running_lanes_in_turn(make_pool: MakePool) -> None:
    """The number of the request chooses the lane."""
    async with make_pool(most_lanes=2) as setup:
        await setup.start(FakeJob("a"), count=8)
        await setup.submit(FakeJob("b"), count=8)
        setup.lanes[1].ready()
        await turn()
        for number in (2, 3):
            asking = asyncio.ensure_future(setup.pool.requests.sign_canary(SignCanary(number, "release", 1)))
            await turn()
            lane = setup.lanes[number % 2]
            assert [canary.id for canary in lane.canaries] == [number]
            lane.say(SignedCanary(number, b"signature"))
            assert (await asking).signature == b"signature"


async def test_a_canary_fails_when_its_lane_exits(make_pool: MakePool) -> None:
    """It is not sent to another lane: the next canary is due soon."""
    async with make_pool() as setup:
        await setup.start(FakeJob("a"))
        asking = asyncio.ensure_future(setup.pool.requests.sign_canary(CANARY))
        await turn()
        setup.lanes[0].end(SEGV)
        with pytest.raises(TokenUnavailable, match="ended over its canary"):
            await asking
        setup.lanes[1].ready()
        await turn()
        assert setup.lanes[1].chunks
        assert not setup.lanes[1].canaries


async def test_a_lane_that_hangs_over_a_canary_is_killed(make_pool: MakePool) -> None:
    """It is silent as over any other work, and the canary fails."""
    async with make_pool() as setup:
        await setup.start(FakeJob("a"))
        setup.lanes[0].answer(setup.lanes[0].chunks[0])
        await turn()
        asking = asyncio.ensure_future(setup.pool.requests.sign_canary(CANARY))
        await turn()
        await setup.pass_time(CALL_TIMEOUT_S + SILENCE_GRACE_S + 1)
        assert setup.lanes[0].killed
        with pytest.raises(TokenUnavailable, match="ended over its canary"):
            await asking


async def test_canaries_keep_no_idle_lane(make_pool: MakePool) -> None:
    """A lane without jobs is stopped after the idle time, however many canaries it signed meanwhile."""
    async with make_pool(idle_s=300.0) as setup:
        await setup.start(FakeJob("a"))
        (lane,) = setup.lanes
        lane.answer(lane.chunks[0])
        await turn()
        for number in range(1, 5):
            await setup.pass_time(70)
            asking = asyncio.ensure_future(setup.pool.requests.sign_canary(SignCanary(number, "release", 1)))
            await turn()
            lane.say(SignedCanary(number, b"signature"))
            await asking
        assert lane.alive
        await setup.pass_time(70)
        assert not lane.alive


async def test_a_lane_of_an_older_version_is_sent_no_canary(make_pool: MakePool) -> None:
    """The request would be an invalid message to it, and it would exit."""
    async with make_pool() as setup:
        await setup.submit(FakeJob("a"))
        setup.lanes[0].ready(canaries=False)
        await turn()
        assert setup.pool.status.can_sign
        assert not setup.pool.requests.takes_canaries


async def test_a_lane_of_a_former_version_is_asked_for_no_statement(make_pool: MakePool) -> None:
    """It would end over a message that it does not know; the caller is told at once."""
    async with make_pool() as setup:
        request = SignStatement(1, "acme", "0123456789abcdef", bytes(32), 0, bytes(32))
        asking = asyncio.ensure_future(setup.pool.requests.sign_statement(request))
        await turn()
        lane = setup.lanes[0]
        lane.ready()
        await turn(50)
        with pytest.raises(TokenUnavailable, match="former version"):
            await asking
        assert request not in lane.sent
