"""Lost lanes of a token pool: their chunks are signed elsewhere, and a crash is blamed on one job or on the token."""

from __future__ import annotations

from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import CALL_TIMEOUT_S, SEGV, MakePool
from tests.support.waiting import turn
from workers.lanes.exit_codes import LaneExit
from workers.lanes.supervisor.circuit_breaker import LONGEST_PAUSE_S
from workers.lanes.supervisor.process_group import SILENCE_GRACE_S


async def test_chunks_of_a_lost_lane_are_sent_to_the_next(make_pool: MakePool) -> None:
    """They are sent in the same order; the job is signed whole and is not requeued."""
    async with make_pool() as setup:
        job = FakeJob("a")
        await setup.start(job, count=8)
        assert [chunk.items[0].first for chunk in setup.lanes[0].chunks] == [0, 4]
        setup.lanes[0].end(SEGV)
        await turn()
        assert len(setup.lanes) == 2
        again = setup.lanes[1]
        again.ready()
        await turn()
        while len(job.done) < 2:
            again.answer(again.chunks[len(job.done)])
            await turn()
        assert [chunk.items[0].first for chunk in again.chunks] == [0, 4]
        assert job.done == [(0, 4), (4, 4)]
        assert setup.observer.ended == ["signal_11"]
        assert not job.unavailable


async def test_only_the_chunk_that_was_being_signed_is_suspect_and_runs_alone(make_pool: MakePool) -> None:
    """Each slice of the first chunk is a suspect in a chunk of its own; the second chunk of the lane is sent whole."""
    async with make_pool() as setup:
        bad, *good = (FakeJob(name) for name in "abcdefgh")
        await setup.start(bad, *good)
        assert [len(chunk.items) for chunk in setup.lanes[0].chunks] == [4, 4]
        setup.lanes[0].end(SEGV)
        await turn()
        lane = setup.lanes[1]
        lane.ready()
        await turn()
        answered = 0
        while answered < len(lane.chunks):
            lane.answer(lane.chunks[answered])
            answered += 1
            await turn()
        assert [len(chunk.items) for chunk in lane.chunks] == [1, 1, 1, 1, 4]
        assert all(job.done == [(0, 1)] for job in (bad, *good))


async def test_a_job_that_crashed_three_lanes_is_poisoned(make_pool: MakePool) -> None:
    """It is not tried a fourth time, and the token stays in use."""
    async with make_pool() as setup:
        bad = FakeJob("bad")
        await setup.start(bad)
        for attempt in range(3):
            assert not bad.poisoned
            lane = setup.lanes[attempt]
            if attempt:
                lane.ready()
                await turn()
            assert len(lane.chunks) == 1
            lane.end(5)
            await turn()
        assert bad.poisoned == [(0, 1)]
        assert len(setup.lanes) == 3
        assert setup.observer.ended == ["exit_5"] * 3
        assert setup.healthy()


async def test_the_crashes_of_a_job_are_forgotten_once_it_is_signed(make_pool: MakePool) -> None:
    """The next job of its id shares a chunk with others: what lanes did before is not held against it."""
    async with make_pool() as setup:
        bad = FakeJob("bad")
        await setup.start(bad)
        setup.lanes[0].end(SEGV)
        await turn()
        lane = setup.lanes[1]
        lane.ready()
        await turn()
        lane.answer(lane.chunks[0])
        await turn()
        assert bad.done == [(0, 1)]
        await setup.submit(*(FakeJob(name) for name in ("bad", "b", "c", "d")))
        await turn()
        assert [len(chunk.items) for chunk in lane.chunks] == [1, 4]


async def test_a_poisoned_job_has_the_exit_reasons_of_its_lanes(make_pool: MakePool) -> None:
    """The exit reasons are the evidence in its dead letter."""
    async with make_pool() as setup:
        bad = FakeJob("bad")
        await setup.start(bad)
        for code in (5, SEGV, 5):
            setup.lanes[-1].ready()
            await turn()
            setup.lanes[-1].end(code)
            await turn()
        assert bad.lane_ends == ("exit_5", "signal_11", "exit_5")


async def test_an_hsm_that_fails_in_lane_after_lane_blames_no_job(make_pool: MakePool) -> None:
    """Each job is requeued; after three lanes the circuit breaker opens, and no other lane is started."""
    async with make_pool() as setup:
        first, second = FakeJob("first"), FakeJob("second")
        await setup.start(first, second)
        for _ in range(3):
            lane = setup.lanes[-1]
            lane.ready()
            await turn()
            lane.fail("CKR_DEVICE_ERROR", LaneExit.REPLACE)
            await turn()
        assert first.poisoned + second.poisoned == []
        assert sorted(first.faulted + first.unavailable + second.faulted + second.unavailable) == [(0, 1)] * 2
        assert not setup.healthy()
        assert len(setup.lanes) == 3


async def test_a_module_that_crashes_at_every_call_poisons_one_job_at_most(make_pool: MakePool) -> None:
    """After three lanes the circuit breaker opens and the jobs are requeued, each time that they come; one may be blamed."""
    async with make_pool() as setup:
        jobs = [FakeJob(name) for name in "abcd"]
        for _ in range(5):
            waiting = [job for job in jobs if not job.poisoned]
            await setup.submit(*waiting)
            while setup.healthy() and setup.pool.status.load:
                setup.lanes[-1].ready()
                await turn()
                setup.lanes[-1].end(SEGV)
                await turn()
            await setup.pass_time(LONGEST_PAUSE_S + 1)
        assert sum(bool(job.poisoned) for job in jobs) == 1


async def test_other_jobs_are_signed_while_two_crash_every_lane(make_pool: MakePool) -> None:
    """A job's crash history is kept while it is back in the queue, so that one of the two is given up."""
    async with make_pool() as setup:
        bad, good = [FakeJob("bad-1"), FakeJob("bad-2")], [FakeJob("good-1"), FakeJob("good-2")]
        for _ in range(6):
            await setup.submit(
                *(job for job in bad if not job.poisoned), *(job for job in good if not job.done)
            )
            while setup.healthy() and setup.pool.status.load:
                lane = setup.lanes[-1]
                lane.ready()
                await turn()
                while lane.alive and lane.unanswered:
                    chunk = lane.unanswered[0]
                    if any(item.sealed.startswith(b"bad") for item in chunk.items):
                        lane.end(5)
                    else:
                        lane.answer(chunk)
                    await turn()
            await setup.pass_time(LONGEST_PAUSE_S + 1)
        assert [job.done for job in good] == [[(0, 1)], [(0, 1)]]
        assert bad[0].poisoned or bad[1].poisoned


async def test_a_second_bad_job_is_poisoned_when_the_token_signs_in_between(make_pool: MakePool) -> None:
    """The token signs in between, so it works, and the second bad job is to blame as the first was."""
    async with make_pool() as setup:
        for name in ("bad", "worse"):
            good, bad = FakeJob("good"), FakeJob(name)
            await setup.submit(good)
            if setup.lanes[-1].chunks == []:
                setup.lanes[-1].ready()
                await turn()
            setup.lanes[-1].answer(setup.lanes[-1].chunks[-1])
            await setup.submit(bad)
            for _ in range(3):
                setup.lanes[-1].end(5)
                await turn()
                if setup.lanes[-1].chunks == [] and not bad.poisoned:
                    setup.lanes[-1].ready()
                    await turn()
            assert bad.poisoned == [(0, 1)]


async def test_crash_history_keeps_a_pool_from_being_idle(make_pool: MakePool) -> None:
    """It is forgotten after the idle time. Without it every attempt in an outage would count as the first."""
    async with make_pool(idle_s=60.0) as setup:
        await setup.start(FakeJob("a"), FakeJob("b"))
        for _ in range(3):
            setup.lanes[-1].ready()
            await turn()
            setup.lanes[-1].fail("CKR_DEVICE_ERROR", LaneExit.REPLACE)
            await turn()
        await setup.pass_time(LONGEST_PAUSE_S + 1)
        assert setup.healthy()
        assert not setup.idle()
        await setup.pass_time(61)
        assert setup.idle()


async def test_a_lane_that_is_silent_for_too_long_is_killed(make_pool: MakePool) -> None:
    """It is killed some seconds after the call timeout, at which it would have ended itself; another is started."""
    async with make_pool() as setup:
        await setup.start(FakeJob("a"))
        await setup.pass_time(CALL_TIMEOUT_S + SILENCE_GRACE_S - 1)
        killed = [setup.lanes[0].killed]
        await setup.pass_time(2)
        assert [*killed, setup.lanes[0].killed] == [False, True]
        assert len(setup.lanes) == 2
        assert setup.observer.ended == ["silent"]
