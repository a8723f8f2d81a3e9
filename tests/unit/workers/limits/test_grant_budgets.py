"""Budgets of grants: reserved before dispatch, counted when signed; added up over hosts by a counter in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import cast

import pytest
from redis.asyncio import Redis

from queueing.coordination import key_usage
from queueing.coordination.key_usage import UsagePeriod
from queueing.errors import EnvelopeSignature, GrantExhausted, LimitRate, QueueUnavailable, TokenUnavailable
from tests.support.fakes.active_jobs import job_in_work, signed
from tests.support.fakes.configurations import current_config
from tests.support.fakes.grants import NOW_MS, grant
from workers.active_job import ActiveJob
from workers.lanes.grant_usage import name_of
from workers.limits.grant_budgets import GrantBudgets


class Shared(Counter[str]):
    """Counters in Redis; ``fails``: nothing is counted, or, with ``lost``, no answer comes."""

    fails = False
    lost = False
    round_trips = 0

    async def increment(
        self, _: Redis, amounts: Mapping[UsagePeriod, int]
    ) -> dict[UsagePeriod, int | QueueUnavailable]:
        self.round_trips += 1
        if self.fails and not self.lost:
            return {each: QueueUnavailable("READONLY") for each in amounts}
        for each, amount in amounts.items():
            self[each.name] += amount
        if self.fails:
            return {each: QueueUnavailable("cut off", perhaps_done=True) for each in amounts}
        return {each: self[each.name] for each in amounts}


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Shared:
    made = Shared()
    monkeypatch.setattr(key_usage, "increment", made.increment)
    return made


def host() -> GrantBudgets:
    return GrantBudgets(cast("Redis", None), current_config())


def job(count: int, *, most: int = 10) -> ActiveJob:
    made = job_in_work(count=count)
    made.grant = grant(max_digests=most)
    return made


def done(budgets: GrantBudgets, each: ActiveJob) -> None:
    each.slice_done(0, signed(each.digests))
    budgets.settle(each)


def test_a_job_of_a_client_costs_nothing() -> None:
    """It has no grant: nothing is reserved or counted."""
    budgets, plain = host(), job_in_work(count=5)
    budgets.reserve(plain, NOW_MS)
    done(budgets, plain)
    assert not budgets._unsent


def test_what_is_signed_is_counted_once_however_often_it_is_tried() -> None:
    """A job that comes again has the same content."""
    budgets = host()
    for _ in range(3):
        each = job(10)
        budgets.reserve(each, NOW_MS)
        done(budgets, each)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(1), NOW_MS)


def test_a_job_that_no_lane_had_gives_its_digests_back() -> None:
    """So does a job that no holder of the grant has signed: a stranger uses up nothing."""
    budgets = host()
    unsent = job(10)
    budgets.reserve(unsent, NOW_MS)
    with pytest.raises(LimitRate):
        budgets.reserve(job(1), NOW_MS)
    unsent.slice_unavailable(0, 10)
    budgets.settle(unsent)
    forged = job(10)
    budgets.reserve(forged, NOW_MS)
    forged.slice_refused(
        0, 5, EnvelopeSignature()
    )  # another lane has the other five, and refuses them as well
    budgets.settle(forged)
    budgets.reserve(job(9), NOW_MS)


def test_a_job_whose_lane_exited_is_counted() -> None:
    """It may have been signed."""
    budgets, each = host(), job(10)
    budgets.reserve(each, NOW_MS)
    each.slice_in_doubt(10)
    each.slice_unavailable(0, 10)
    budgets.settle(each)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(1), NOW_MS)


async def test_hosts_learn_of_each_other(shared: Shared) -> None:
    """The counter in Redis adds up their digests: together they sign no more than the ten of the grant."""
    one, other = host(), host()
    for budgets, count in ((one, 6), (other, 3)):
        each = job(count)
        budgets.reserve(each, NOW_MS)
        done(budgets, each)
        await budgets.share()
    other.reserve(job(1), NOW_MS)
    with pytest.raises(GrantExhausted):
        other.reserve(job(2), NOW_MS)
    assert sum(shared.values()) == 9


async def test_what_redis_did_not_take_is_added_later(shared: Shared) -> None:
    """What it may have taken is not added again. The count of this host holds meanwhile."""
    budgets, each = host(), job(4)
    budgets.reserve(each, NOW_MS)
    done(budgets, each)
    shared.fails = True
    await budgets.share()
    shared.fails = False
    await budgets.share()
    assert sum(shared.values()) == 4
    await budgets.share()
    assert sum(shared.values()) == 4
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(7), NOW_MS)

    maybe_taken = job(2)
    budgets.reserve(maybe_taken, NOW_MS)
    done(budgets, maybe_taken)
    shared.fails = shared.lost = True
    await budgets.share()
    shared.fails = False
    await budgets.share()
    assert sum(shared.values()) == 6


def test_a_requeued_job_is_reserved_again() -> None:
    """Its first reservation ended with its return."""
    budgets, each = host(), job(10)
    budgets.reserve(each, NOW_MS)
    each.requeue(TokenUnavailable())
    budgets.settle(each)
    again = job(10)
    budgets.reserve(again, NOW_MS)
    done(budgets, again)
    assert budgets._unsent == {name_of(grant()): 10}


async def test_a_host_that_is_new_to_a_grant_reads_what_others_have_signed(shared: Shared) -> None:
    """It reads the counter before its first job of the grant, in one round trip."""
    one, other = host(), host()
    first = job(8)
    one.reserve(first, NOW_MS)
    done(one, first)
    await one.share()
    asked = job(3)
    await other.refresh([asked, job_in_work(count=5)])
    with pytest.raises(GrantExhausted):
        other.reserve(asked, NOW_MS)
    assert shared.round_trips == 2


async def test_a_grant_that_nears_its_cap_is_read_before_each_job(shared: Shared) -> None:
    """Its knowledge of the others may be half a second old; below half of the cap nothing is asked."""
    one, other = host(), host()
    first = job(3)
    await one.refresh([first])
    one.reserve(first, NOW_MS)
    done(one, first)
    other._usage.count(grant(max_digests=10), b"c" * 16, 1)
    other._unsent[name_of(grant())] += 1
    await other.share()
    before = shared.round_trips
    await one.refresh([job(2)])
    assert shared.round_trips == before
    last = job(6)
    await one.refresh([last])
    one.reserve(last, NOW_MS)
    done(one, last)
    assert one._due.is_set(), "others learn of it at once"
    await one.share()
    await other.refresh([job(5)])
    with pytest.raises(GrantExhausted):
        other.reserve(job(5), NOW_MS)


async def test_two_exchanges_at_once_count_nothing_twice(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a read has digests that this host has sent: they are not those of another host."""
    counted, answering = asyncio.Event(), asyncio.Event()

    async def slow_writes(
        redis: Redis, amounts: Mapping[UsagePeriod, int]
    ) -> dict[UsagePeriod, int | QueueUnavailable]:
        answers = await shared.increment(redis, amounts)
        if any(amounts.values()):
            counted.set()
            await answering.wait()
        return answers

    async def read_and_reserve() -> None:
        await counted.wait()
        asyncio.get_running_loop().call_soon(answering.set)
        await budgets.refresh([job(4)])
        budgets.reserve(job(4), NOW_MS)

    monkeypatch.setattr(key_usage, "increment", slow_writes)
    budgets, each = host(), job(6)
    budgets.reserve(each, NOW_MS)
    done(budgets, each)
    await asyncio.gather(budgets.share(), read_and_reserve())
    with pytest.raises(LimitRate):
        budgets.reserve(job(1), NOW_MS)


async def test_the_counts_of_this_host_hold_alone_while_redis_is_away(shared: Shared) -> None:
    """A read that failed adds nothing to what is sent next."""
    budgets, each = host(), job(6)
    shared.fails = True
    await budgets.refresh([each])
    budgets.reserve(each, NOW_MS)
    assert not budgets._unsent
    done(budgets, each)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(5), NOW_MS)
