"""End of a token pool's lanes: idle, drained, retired, closed or killed."""

from __future__ import annotations

from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import MakePool, PoolSetup
from tests.support.waiting import turn
from workers.lanes.protocol import Stop
from workers.lanes.supervisor.hsm_sharing import HsmShare, SharedHsm


async def test_an_idle_lane_is_stopped_and_counts_as_no_restart(make_pool: MakePool) -> None:
    """It is stopped after the idle time; the next job starts another."""
    async with make_pool(idle_s=60.0) as setup:
        job = FakeJob("a")
        await setup.start(job)
        setup.lanes[0].answer(setup.lanes[0].chunks[0])
        await turn()
        await setup.pass_time(59)
        assert Stop() not in setup.lanes[0].sent
        await setup.pass_time(2)
        assert setup.lanes[0].sent[-1] == Stop()
        assert setup.observer.ended == [None]
        await setup.submit(FakeJob("b"))
        assert len(setup.lanes) == 2


async def test_a_lane_that_is_stopped_before_it_is_ready_is_not_counted(make_pool: MakePool) -> None:
    """It was told to stop, so it counts neither as failed nor as a restart."""
    async with make_pool() as setup:
        await setup.submit(FakeJob("a"))
    assert (setup.observer.failed, setup.observer.ended) == ([], [])


async def test_waiting_jobs_are_requeued_at_a_drain_and_those_in_a_lane_are_finished(
    make_pool: MakePool,
) -> None:
    """The lane answers both of its chunks."""
    async with make_pool() as setup:
        early, late = FakeJob("early"), FakeJob("late")
        await setup.start(early, count=8)
        await setup.submit(late)
        setup.pool.return_waiting()
        assert (early.unavailable, late.unavailable) == ([], [(0, 1)])
        lane = setup.lanes[0]
        for chunk in lane.chunks:
            lane.answer(chunk)
        await turn()
        assert early.done == [(0, 4), (4, 4)]


async def test_the_rest_of_a_job_that_is_begun_is_finished_at_a_drain(make_pool: MakePool) -> None:
    """Requeued, the slices that the lane has would be signed twice."""
    async with make_pool() as setup:
        job = FakeJob("long")
        await setup.start(job, count=20)
        setup.pool.return_waiting(keep_begun=True)
        lane = setup.lanes[0]
        answered = 0
        while answered < len(lane.chunks):
            lane.answer(lane.chunks[answered])
            answered += 1
            await turn()
        assert not job.unavailable
        assert sum(count for _, count in job.done) == 20


async def test_jobs_of_killed_lanes_are_requeued_as_perhaps_signed(make_pool: MakePool) -> None:
    """At the deadline of a drain the HSM is not waited for; a job that was in no lane is not in doubt."""
    async with make_pool() as setup:
        job, late = FakeJob("hung"), FakeJob("late")
        await setup.start(job, count=8)
        await setup.submit(late)
        setup.pool.kill()
        await turn()
        assert sum(count for _, count in job.unavailable) == 8
        assert (job.in_doubt, late.in_doubt) == (True, False)
        assert late.unavailable == [(0, 1)]
        assert setup.lanes[0].killed
        assert setup.observer.ended == [None]


async def test_closing_stops_every_lane(make_pool: MakePool) -> None:
    """The pool has no capacity after that."""
    async with make_pool(most_lanes=2) as setup:
        await setup.start(FakeJob("a"), count=200)
        setup.lanes[1].ready()
        await turn()
    assert [lane.sent[-1] for lane in setup.lanes] == [Stop(), Stop()]
    assert setup.pool.capacity() == 0


async def test_a_drained_token_finishes_what_its_lanes_have_and_logs_out(make_pool: MakePool) -> None:
    """Jobs that no lane has are requeued, as are later ones; the lane stops when it has answered, until the token is resumed."""
    async with make_pool() as setup:
        first, second, third, late = (FakeJob(name) for name in "abcd")
        await setup.start(first, count=4)
        await setup.submit(second, count=4)
        await setup.submit(third, count=4)
        (lane,) = setup.lanes
        assert len(lane.unanswered) == 2
        setup.pool.set_drained(drained=True)
        await setup.submit(late)
        assert (third.unavailable, late.unavailable) == ([(0, 4)], [(0, 1)])
        assert not setup.healthy()
        assert setup.pool.capacity() == 0
        alive = [lane.alive]
        for chunk in lane.unanswered:
            lane.answer(chunk)
        await turn()
        await setup.pass_time(0.5)
        assert (first.done, second.done) == ([(0, 4)], [(0, 4)])
        assert [*alive, lane.alive] == [True, False]
        assert setup.observer.ended == [None]
        setup.pool.set_drained(drained=False)
        assert setup.healthy()
        again = FakeJob("again")
        await setup.submit(again)
        assert len(setup.lanes) == 2


async def test_a_lane_that_was_starting_when_its_token_was_drained_is_stopped(make_pool: MakePool) -> None:
    """It has no work, and no other is started."""
    async with make_pool() as setup:
        job = FakeJob("a")
        await setup.submit(job)
        setup.pool.set_drained(drained=True)
        assert job.unavailable == [(0, 1)]
        await setup.pass_time(0.5)
        assert not setup.lanes[0].alive
        assert len(setup.lanes) == 1


async def test_a_job_that_is_submitted_to_a_retired_pool_is_requeued(make_pool: MakePool) -> None:
    """No lane will be started for it."""
    async with make_pool() as setup:
        setup.pool.retire()
        job = FakeJob("late")
        await setup.submit(job)
        assert job.unavailable == [(0, 1)]
        assert not setup.lanes


async def test_a_retired_pool_finishes_what_its_lane_has(make_pool: MakePool) -> None:
    """A later job is requeued; the lane exits when it has answered."""
    async with make_pool() as setup:
        early, late = FakeJob("early"), FakeJob("late")
        await setup.start(early)
        (lane,) = setup.lanes
        lane.answer(lane.chunks[0])
        setup.pool.retire()
        await setup.submit(late)
        assert (early.done, late.unavailable) == ([(0, 1)], [(0, 1)])
        assert setup.pool.status.gone


class OtherToken:
    """Token that shares the HSM and has work without end."""

    weight = 1.0

    def pump(self) -> None: ...


def on_a_full_hsm(setup: PoolSetup) -> HsmShare:
    """The pool shares an HSM with another token, which uses all of it."""
    hsm = SharedHsm(2)
    other = hsm.join(OtherToken(), operations=2)
    other.acquire("its lane")
    setup.pool.share_hsm(hsm)
    return other


async def test_a_token_that_is_drained_while_it_waits_for_a_shared_hsm_no_longer_waits(
    make_pool: MakePool,
) -> None:
    """The other token keeps the operations of the HSM."""
    async with make_pool() as setup:
        other = on_a_full_hsm(setup)
        job = FakeJob("a")
        await setup.start(job)
        assert not setup.lanes[0].chunks
        assert not other.request("its lane"), "the HSM is to be shared"
        setup.pool.set_drained(drained=True)
        assert job.unavailable == [(0, 1)]
        assert other.request("its lane")
