"""A further lane that cannot be started: the token continues with the lanes that it has."""

from __future__ import annotations

import pytest

from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import SEGV, MakePool
from tests.support.waiting import turn
from workers.lanes.exit_codes import LaneExit


@pytest.mark.parametrize("how", ["unreachable", "ends before it is ready"])
async def test_a_further_lane_that_cannot_start_takes_nothing_from_the_one_that_signs(
    make_pool: MakePool, how: str
) -> None:
    """There is no room for another session, or file: the token works, and signs in the lane that it has."""
    async with make_pool(most_lanes=2) as setup:
        job = FakeJob("a")
        await setup.submit(job, count=40)
        setup.host.refuse = how == "unreachable"
        setup.lanes[0].ready()
        await turn()
        if not setup.host.refuse:
            setup.lanes[1].fail("CKR_SESSION_COUNT", LaneExit.CONFIG)
            await turn()
        assert len(setup.observer.failed) == 1
        assert setup.healthy()
        assert setup.observer.circuits == []
        first = setup.lanes[0]
        while first.unanswered:
            first.answer(first.unanswered[0])
            await turn()
        assert job.unavailable == []
        assert sum(count for _, count in job.done) == 40


async def test_the_start_of_a_further_lane_is_tried_less_and_less_often(make_pool: MakePool) -> None:
    """Each attempt costs a process, and perhaps a login; the pauses start again after one that succeeds."""
    async with make_pool(most_lanes=2) as setup:
        await setup.submit(FakeJob("a"), count=200)
        setup.lanes[0].ready()
        await turn()
        pauses = []
        for attempt in range(1, 10):
            assert len(setup.lanes) == attempt + 1
            setup.lanes[-1].end(LaneExit.CONFIG)
            await turn()
            before = setup.clock.now
            while len(setup.lanes) == attempt + 1:
                await setup.pass_time(0.5)
                setup.lanes[0].answer(setup.lanes[0].unanswered[0])  # it is busy, not silent
                await setup.submit(FakeJob("b"), count=200)
            pauses.append(setup.clock.now - before)
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        setup.lanes[-1].ready()
        await turn()
        setup.lanes[-1].end(SEGV)
        await turn()
        setup.lanes[-1].end(LaneExit.CONFIG)
        await turn()
        attempts = len(setup.lanes)
        await setup.pass_time(1.0)
        await setup.submit(FakeJob("c"))
        assert len(setup.lanes) == attempts + 1


async def test_the_last_lane_is_replaced_at_once_although_one_more_could_not_be_started(
    make_pool: MakePool,
) -> None:
    """There is room for the last lane; if that one cannot be started either, the circuit breaker opens."""
    async with make_pool(most_lanes=2) as setup:
        await setup.submit(FakeJob("a"), count=200)
        setup.lanes[0].ready()
        await turn()
        setup.lanes[1].end(LaneExit.CONFIG)
        await turn()
        assert len(setup.lanes) == 2
        setup.lanes[0].end(SEGV)
        await turn()
        assert len(setup.lanes) == 3
        setup.lanes[2].end(LaneExit.CONFIG)
        await turn()
        assert not setup.healthy()


async def test_nothing_is_claimed_for_a_lane_that_cannot_be_started(make_pool: MakePool) -> None:
    """The job would wait here, and another worker may be able to sign it."""
    async with make_pool(most_lanes=2) as setup:
        await setup.submit(FakeJob("a"), count=9)
        setup.lanes[0].ready()
        await turn()
        with_another = setup.pool.capacity()
        setup.lanes[1].end(LaneExit.CONFIG)
        await turn()
        assert setup.pool.capacity() < with_another
