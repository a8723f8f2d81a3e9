"""Status of a token's pool, and the counts over those of a worker."""

from __future__ import annotations

from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import SEGV, MakePool
from tests.support.waiting import turn
from workers.lanes.protocol import Stop
from workers.lanes.supervisor.circuit_breaker import Circuit


async def test_the_load_is_what_waits_and_what_lanes_have(make_pool: MakePool) -> None:
    """Sessions are busy with what they have, and a lane has no more busy sessions than sessions."""
    async with make_pool() as setup:
        status = setup.pool.status
        await setup.submit(FakeJob("a"), count=5)
        counts = (status.load, status.sessions_busy(), status.sessions_of_lanes())
        assert (*counts, status.can_sign) == (5, 0, [], False)
        setup.lanes[0].ready(sessions=3)
        await turn()
        counts = (status.load, status.sessions_busy(), status.sessions_of_lanes())
        assert (*counts, status.can_sign) == (5, 3, [3], True)
        while setup.lanes[0].unanswered:
            setup.lanes[0].answer(setup.lanes[0].unanswered[0])
            await turn()
        assert (status.load, status.sessions_busy()) == (0, 0)


async def test_a_pool_is_idle_only_when_nothing_would_be_lost_with_it(make_pool: MakePool) -> None:
    """A pool with a lane, or with work after a crash, is kept."""
    async with make_pool() as setup:
        status = setup.pool.status
        assert setup.idle()
        await setup.start(FakeJob("a"))
        assert not setup.idle()
        setup.lanes[0].end(SEGV)
        await turn()
        assert status.load > 0
        assert not setup.idle()


async def test_a_retired_pool_is_gone_when_its_last_lane_is(make_pool: MakePool) -> None:
    """Neither a pool that was not retired is gone, nor a retired one whose lane has not exited."""
    async with make_pool() as setup:
        gone = [setup.pool.status.gone]
        await setup.start(FakeJob("a"))
        setup.pool.retire()
        assert setup.lanes[0].sent[-1] == Stop()
        gone.append(setup.pool.status.gone)
        await turn()
        assert [*gone, setup.pool.status.gone] == [False, False, True]


async def test_the_status_of_a_pool_has_the_state_of_its_circuit_breaker(make_pool: MakePool) -> None:
    """An open circuit is a doubt about the token."""
    async with make_pool() as setup:
        status = setup.pool.status
        assert (status.circuit, status.in_doubt) == (Circuit.CLOSED, False)
        setup.host.refuse = True
        await setup.submit(FakeJob("a"))
        assert (status.circuit, status.in_doubt) == (Circuit.OPEN, True)
