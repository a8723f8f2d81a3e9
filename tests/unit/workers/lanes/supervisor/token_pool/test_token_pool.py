"""Token pool: lanes are started for work, fed with chunks of a measured size, and report free capacity."""

from __future__ import annotations

import pytest

from queueing.errors import TokenUnavailable
from queueing.protocol.jobs import WireError
from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import GROUP, MakePool, PoolSetup
from tests.support.waiting import turn
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import KEY_NOT_FOUND, Outcomes, SliceOutcome
from workers.lanes.supervisor.circuit_breaker import SHORTEST_PAUSE_S
from workers.lanes.supervisor.token_pool import AVOID_S


async def test_a_lane_is_started_by_the_first_work_and_fed_when_it_is_ready(make_pool: MakePool) -> None:
    """No lane runs before the first job; its chunk is sent when the lane is ready, and the job receives its outcome."""
    async with make_pool() as setup:
        assert not setup.lanes
        assert setup.healthy()
        job = FakeJob("a")
        await setup.submit(job)
        (lane,) = setup.lanes
        assert not lane.chunks
        lane.ready()
        await turn()
        lane.answer(lane.chunks[0])
        await turn()
        assert job.done == [(0, 1)]
        assert setup.observer.started == 1


async def test_at_most_two_chunks_are_in_a_lane(make_pool: MakePool) -> None:
    """The third chunk is sent after the answer to the first."""
    async with make_pool() as setup:
        await setup.start(FakeJob("a"), count=100)
        (lane,) = setup.lanes
        assert len(lane.chunks) == 2
        lane.answer(lane.chunks[0])
        await turn()
        assert len(lane.chunks) == 3


async def test_more_lanes_are_started_while_work_waits(make_pool: MakePool) -> None:
    """One lane is started after another, up to the most lanes of the token."""
    async with make_pool(most_lanes=3) as setup:
        await setup.submit(FakeJob("a"), count=200)
        for expected in (1, 2, 3, 3):
            assert len(setup.lanes) == expected
            setup.lanes[-1].ready()
            await turn()
        assert all(lane.chunks for lane in setup.lanes)


async def test_a_token_that_lacks_a_key_is_avoided_for_some_seconds(make_pool: MakePool) -> None:
    """Another token may have the key; after that time this one is tried again."""
    async with make_pool() as setup:
        job = FakeJob("a")
        await setup.start(job)
        assert not setup.pool.lacks(GROUP.key, GROUP.version)
        setup.lanes[0].refuse(setup.lanes[0].chunks[0], TokenUnavailable())
        await turn()
        assert setup.pool.lacks(GROUP.key, GROUP.version)
        assert not setup.pool.lacks(GROUP.key, GROUP.version + 1)
        await setup.pass_time(AVOID_S + 0.1)
        assert not setup.pool.lacks(GROUP.key, GROUP.version)


async def test_a_key_that_a_lane_does_not_find_is_reported_until_it_signs(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its jobs wait, and nothing else shows why."""
    async with make_pool() as setup:
        await setup.start(FakeJob("a"))
        setup.lanes[0].refuse(setup.lanes[0].chunks[0], TokenUnavailable(KEY_NOT_FOUND))
        await turn()
        assert setup.observer.missing == [1]
        await setup.submit(FakeJob("b"))
        setup.lanes[0].refuse(setup.lanes[0].chunks[1], TokenUnavailable(KEY_NOT_FOUND))
        await turn()
        assert setup.observer.missing == [1], "told once"
        await setup.submit(FakeJob("c"))
        setup.lanes[0].answer(setup.lanes[0].chunks[2])
        await turn()
        assert setup.observer.missing == [1, 0]
    assert [each.message for each in caplog.records if each.message.startswith("key.")] == ["key.missing"]


async def test_free_capacity_is_reported_when_the_circuit_closes(make_pool: MakePool) -> None:
    """No lane answers anything meanwhile, so nothing else would make the claim loop claim."""
    async with make_pool() as setup:
        await setup.submit(FakeJob("a"))
        setup.lanes[0].end(LaneExit.CONFIG)
        await turn()
        setup.capacity.freed.clear()
        await setup.pass_time(SHORTEST_PAUSE_S + 0.01)
        capacity, _ = setup.capacity.freed[-1]
        assert capacity > 0


async def test_free_capacity_is_reported_when_a_poisoned_job_leaves(make_pool: MakePool) -> None:
    """The pool is empty then, although no lane has answered."""
    async with make_pool(poison_crashes=1) as setup:
        await setup.start(FakeJob("bad"), count=4)
        assert setup.pool.capacity() > 0
        setup.capacity.freed.clear()
        setup.lanes[0].end(5)
        await turn()
        assert [load for _, load in setup.capacity.freed] == [0]


async def test_refused_digests_are_not_measured(make_pool: MakePool) -> None:
    """Refusals take no time: capacity and chunk size are as before."""
    async with make_pool() as setup:
        await setup.start(FakeJob("a"), count=4)
        before = setup.pool.capacity() + setup.pool.status.load
        lane = setup.lanes[0]
        note = WireError("policy.denied")
        lane.say(Outcomes(lane.chunks[0].id, (SliceOutcome(note),), 0.0))
        await turn()
        assert setup.pool.capacity() == before
        await setup.submit(FakeJob("b"), count=100)
        assert lane.chunks[-1].items[0].count == 4, "two for each session, as at the start"


async def test_a_chunk_is_measured_by_what_was_signed_in_it(make_pool: MakePool) -> None:
    """Of a chunk that was signed by more than half, only the signed digests count."""
    async with make_pool(chunk_target_s=0.02) as setup:
        await setup.start(FakeJob("a"), count=4)
        lane = setup.lanes[0]
        setup.clock.now += 0.003
        item = SliceOutcome(None, 1, b"f", (b"s", b"s", b"s", None), {3: WireError("digest.length")})
        lane.say(Outcomes(lane.chunks[0].id, (item,), 0.0))
        await turn()
        await setup.submit(FakeJob("b"), count=100)
        assert lane.chunks[-2].items[0].count == pytest.approx(20, abs=1)


async def work_off(setup: PoolSetup, each_s: float) -> None:
    """Have the lanes answer everything, at so many seconds a digest."""
    while busy := [(lane, lane.unanswered[0]) for lane in setup.lanes if lane.unanswered]:
        setup.clock.now += each_s * max(sum(item.count for item in chunk.items) for _, chunk in busy)
        for lane, chunk in busy:
            lane.answer(chunk)
        await turn()


@pytest.mark.parametrize(
    "digests, parts", [(64, [32, 32]), (300, [47, 47]), (2, [2])], ids=["little", "much", "too little"]
)
async def test_a_small_envelope_is_divided_among_idle_lanes(
    make_pool: MakePool, digests: int, parts: list[int]
) -> None:
    """Each lane gets half. A chunk is at most the target of 0.1 s, and less than 5 ms is not divided."""
    async with make_pool(most_lanes=2, chunk_target_s=0.1) as setup:
        await setup.start(FakeJob("first"), count=400)
        setup.lanes[1].ready()
        await turn()
        await work_off(setup, 0.002)
        before = [len(lane.chunks) for lane in setup.lanes]
        await setup.submit(FakeJob("lone"), count=digests)
        firsts = [lane.chunks[n:][:1] for lane, n in zip(setup.lanes, before, strict=True)]
        assert [item.count for chunks in firsts for chunk in chunks for item in chunk.items] == parts
        await work_off(setup, 0.002)
