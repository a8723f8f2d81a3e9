"""Budgets of grants: reserved before dispatch, counted when signed; added up over hosts by a counter in memory."""

from __future__ import annotations

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
from tests.support.fakes.grants import grant
from workers.active_job import ActiveJob
from workers.limits.grant_budgets import GrantBudgets


class Shared(Counter[str]):
    """Counters in Redis; ``fails``: nothing is counted, or, with ``lost``, no answer comes."""

    fails = False
    lost = False

    async def increment(
        self, _: Redis, amounts: Mapping[UsagePeriod, int]
    ) -> dict[UsagePeriod, int | QueueUnavailable]:
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
    """It has no grant."""
    budgets, plain = host(), job_in_work(count=5)
    budgets.reserve(plain)
    done(budgets, plain)
    assert not budgets._unsent


def test_what_is_signed_is_counted_once_however_often_it_is_tried() -> None:
    """A job that comes again has the same content."""
    budgets = host()
    for _ in range(3):
        each = job(10)
        budgets.reserve(each)
        done(budgets, each)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(1))


def test_a_job_that_no_lane_had_gives_its_digests_back() -> None:
    """And one that no holder of the grant had signed: a stranger uses up nothing."""
    budgets = host()
    unsent = job(10)
    budgets.reserve(unsent)
    with pytest.raises(LimitRate):
        budgets.reserve(job(1))
    unsent.slice_unavailable(0, 10)
    budgets.settle(unsent)
    forged = job(10)
    budgets.reserve(forged)
    forged.slice_refused(
        0, 5, EnvelopeSignature()
    )  # another lane has the other five, and refuses them as well
    budgets.settle(forged)
    budgets.reserve(job(9))


def test_a_job_whose_lane_exited_is_counted() -> None:
    """It may have been signed."""
    budgets, each = host(), job(10)
    budgets.reserve(each)
    each.slice_in_doubt(10)
    each.slice_unavailable(0, 10)
    budgets.settle(each)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(1))


async def test_hosts_learn_of_each_other(shared: Shared) -> None:
    """By Redis: ten digests over both, though each would allow ten."""
    one, other = host(), host()
    for budgets, count in ((one, 6), (other, 3)):
        each = job(count)
        budgets.reserve(each)
        done(budgets, each)
        await budgets.share()
    other.reserve(job(1))
    with pytest.raises(GrantExhausted):
        other.reserve(job(2))
    assert sum(shared.values()) == 9


async def test_what_redis_did_not_take_is_added_later(shared: Shared) -> None:
    """But not what it may have taken: the own count holds in both cases."""
    budgets, each = host(), job(4)
    budgets.reserve(each)
    done(budgets, each)
    shared.fails = True
    await budgets.share()
    shared.fails = False
    await budgets.share()
    assert sum(shared.values()) == 4
    await budgets.share()
    assert sum(shared.values()) == 4
    with pytest.raises(GrantExhausted):
        budgets.reserve(job(7))


async def test_a_requeued_job_is_reserved_again(shared: Shared) -> None:
    """Its first reservation ended with its return."""
    budgets, each = host(), job(10)
    budgets.reserve(each)
    each.requeue(TokenUnavailable())
    budgets.settle(each)
    again = job(10)
    budgets.reserve(again)
    done(budgets, again)
    assert not shared
    assert budgets._unsent
