"""Budgets of keys: reserved before dispatch, given back when not signed; a counter in memory stands in for Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import pytest
from redis.asyncio import Redis

from queueing.coordination import key_usage
from queueing.coordination.key_usage import UsagePeriod
from queueing.errors import KeyUnknown, LimitBudget, QueueUnavailable, TokenUnavailable
from tests.support.fakes.active_jobs import job_in_work, job_partly_sent, signed
from tests.support.fakes.configurations import current_config, tenant
from workers.config.key_policy import Budget, KeyPolicy
from workers.config.tenants import TenantKey
from workers.limits.key_budgets import KeyBudgets

NOW_MS = 1_000
PERIOD_S = 86_400
POLICY = KeyPolicy(budget=Budget(digests=10, period_s=PERIOD_S))


class Usage(Counter[str]):
    """Counters in Redis; ``refuse``: every increment is refused; ``lose``: it is done, and its answer is lost."""

    refuse = False
    lose = False
    round_trips = 0
    damaged: frozenset[str] = frozenset()

    async def increment(
        self, _: Redis, amounts: Mapping[UsagePeriod, int]
    ) -> dict[UsagePeriod, int | QueueUnavailable]:
        self.round_trips += 1
        if self.refuse:
            return {period: QueueUnavailable("READONLY") for period in amounts}
        for period, amount in amounts.items():
            self[period.key] += amount
        if self.lose:
            return {period: QueueUnavailable("cut off", perhaps_done=True) for period in amounts}
        return {
            period: QueueUnavailable("CLUSTERDOWN") if period.tenant in self.damaged else self[period.key]
            for period in amounts
        }


@pytest.fixture
def usage(monkeypatch: pytest.MonkeyPatch) -> Usage:
    made = Usage()
    monkeypatch.setattr(key_usage, "increment", made.increment)
    return made


@pytest.fixture
def budgets(usage: Usage) -> KeyBudgets:
    """The key ``release`` of acme has ten digests a day; the tenant globex has no such key."""
    key = cast("TenantKey", SimpleNamespace(policy=POLICY))
    return KeyBudgets(
        cast("Redis", None), current_config([tenant("acme", keys={"release": key}), tenant("globex")])
    )


async def test_jobs_within_the_budget_are_reserved_in_one_round_trip(
    usage: Usage, budgets: KeyBudgets
) -> None:
    """Jobs may use all of a budget together."""
    assert await budgets.reserve([job_in_work(None, 4), job_in_work(None, 6)], NOW_MS) == {}
    assert usage == {"release": 10}
    assert usage.round_trips == 1


async def test_a_job_that_exceeds_the_budget_is_refused_and_a_smaller_one_is_not(
    usage: Usage, budgets: KeyBudgets
) -> None:
    """Digests of the refused job are given back; the error says how many are left, and how long."""
    large, small = job_in_work(None, 11), job_in_work(None, 3)
    refused = await budgets.reserve([large, small], NOW_MS)
    assert list(refused) == [large]
    error = refused[large]
    assert isinstance(error, LimitBudget)
    assert "has 10 of 10 digests left" in error.message
    assert error.retry_after_s == PERIOD_S - 1
    await budgets.return_unused()
    assert usage == {"release": 3}


async def test_a_key_without_a_budget_costs_nothing(usage: Usage, budgets: KeyBudgets) -> None:
    """It takes no round trip, and nothing is given back."""
    job = job_in_work(None, 100, tenant="globex")
    assert await budgets.reserve([job], NOW_MS) == {}
    budgets.settle(job)
    await budgets.return_unused()
    assert (usage, usage.round_trips) == ({}, 0)


async def test_signed_digests_stay_spent(usage: Usage, budgets: KeyBudgets) -> None:
    """Digests of a published job that were refused one by one are given back."""
    job = job_in_work(None, 4)
    await budgets.reserve([job], NOW_MS)
    job.slice_done(0, signed(4))
    job.signatures[3] = None
    budgets.settle(job)
    await budgets.return_unused()
    assert usage == {"release": 3}


async def test_digests_of_a_refused_job_that_lanes_signed_stay_spent(
    usage: Usage, budgets: KeyBudgets
) -> None:
    """Those that a lane had when the job ended are spent; those that waited for a lane are given back."""
    job = job_partly_sent(None, 6, sent=4)
    await budgets.reserve([job], NOW_MS)
    job.slice_done(0, signed(1))
    job.slice_refused(1, 1, KeyUnknown())
    budgets.settle(job)
    await budgets.return_unused()
    assert usage == {"release": 3}


@pytest.mark.parametrize("error", [KeyUnknown(), TokenUnavailable()])
async def test_a_job_without_signatures_gives_all_back_once(
    usage: Usage, budgets: KeyBudgets, error: KeyUnknown | TokenUnavailable
) -> None:
    """A refused job and a requeued one give all digests back; a second settlement gives nothing."""
    job = job_in_work(None, 4)
    await budgets.reserve([job], NOW_MS)
    job.requeue(error) if error.retryable else job.fail(error)
    budgets.settle(job)
    budgets.settle(job)
    await budgets.return_unused()
    assert usage == {"release": 0}


async def test_amounts_that_redis_refuses_are_kept_for_the_next_time(
    usage: Usage, budgets: KeyBudgets
) -> None:
    """They are given back once."""
    job = job_in_work(None, 4)
    await budgets.reserve([job], NOW_MS)
    budgets.settle(job)
    usage.refuse = True
    await budgets.return_unused()
    usage.refuse = False
    await budgets.return_unused()
    await budgets.return_unused()
    assert usage == {"release": 0}


async def test_amounts_whose_answer_was_lost_are_not_given_back_twice(
    usage: Usage, budgets: KeyBudgets
) -> None:
    """Redis may have counted them: a second time would let the key sign more than its budget."""
    kept, returned = job_in_work(None, 4), job_in_work(None, 6)
    await budgets.reserve([kept, returned], NOW_MS)
    budgets.settle(returned)
    usage.lose = True
    await budgets.return_unused()
    usage.lose = False
    await budgets.return_unused()
    assert usage == {"release": 4}


async def test_a_reservation_whose_answer_was_lost_stays_spent(usage: Usage, budgets: KeyBudgets) -> None:
    """The jobs are requeued; the error is on the side of signing less."""
    job = job_in_work(None, 4)
    usage.lose = True
    assert isinstance((await budgets.reserve([job], NOW_MS))[job], QueueUnavailable)
    usage.lose = False
    budgets.settle(job)
    await budgets.return_unused()
    assert usage == {"release": 4}


async def test_a_shard_that_does_not_count_holds_up_the_jobs_of_its_keys_only(usage: Usage) -> None:
    """A job of another key is reserved and counted as before."""
    key = cast("TenantKey", SimpleNamespace(policy=POLICY))
    budgets = KeyBudgets(
        cast("Redis", None),
        current_config([tenant(name, keys={"release": key}) for name in ("acme", "globex")]),
    )
    usage.damaged = frozenset({"acme"})
    away, other = job_in_work(None, 4), job_in_work(None, 4, tenant="globex")
    assert [*await budgets.reserve([away, other], NOW_MS)] == [away]
    assert usage["release"] == 8
    budgets.settle(other)
    await budgets.return_unused()
    assert usage["release"] == 4, "what the other job did not sign was given back"


async def test_a_redis_that_refuses_reserves_nothing(usage: Usage, budgets: KeyBudgets) -> None:
    """The caller requeues the jobs; settling them gives nothing back."""
    usage.refuse = True
    job = job_in_work(None, 4)
    assert isinstance((await budgets.reserve([job], NOW_MS))[job], QueueUnavailable)
    usage.refuse = False
    budgets.settle(job)
    await budgets.return_unused()
    assert usage == {}
