"""Debt and credit of a tenant after its claims, and the hard cap, without Redis and with a fake clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult
from queueing.errors import LimitRate
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.limits import ClaimLimits
from tests.support.fakes.active_jobs import one_sink
from tests.support.fakes.configurations import configuration, tenant
from workers.active_job import ActiveJob
from workers.config.tenant_limits import TenantLimits
from workers.config.tenants import Tenant
from workers.current_config import CurrentConfig
from workers.limits.rate_limiter import DAY_MS, SLACK, RateLimiter, TokenBucket
from workers.telemetry.metrics import Metrics

COSTS = {str(Algorithm.RSASSA_PSS_SHA_256): 8.0}


def acme(**limits: Any) -> Tenant:
    return tenant("acme", limits=TenantLimits(claim=ClaimLimits(costs=COSTS, **limits)))


class Account:
    """The limiter account of the tenant ``acme``, with a clock that stands still."""

    def __init__(self, **limits: Any) -> None:
        self.config = CurrentConfig(configuration([acme(**limits)]))
        self.now_s = 100.0
        self.registry = CollectorRegistry()
        self.limiter = RateLimiter(self.config, Metrics(self.registry), lambda: self.now_s)

    def adopt(self, **limits: Any) -> None:
        """Reload the tenant with these limits."""
        self.config.adopt(configuration([acme(**limits)]))

    def owed(self) -> tuple[float, int]:
        request = self.limiter.claim_request("acme", most_jobs=1, most_digests=1)
        assert 0 in {request.owed_cost, request.credit_cost}
        assert 0 in {request.owed_digests, request.credit_digests}
        return (
            round(request.owed_cost - request.credit_cost, 6),
            request.owed_digests - request.credit_digests,
        )

    def claim(self, *, digests: int, cost: float, really: int, at_ms: int = 0) -> ActiveJob:
        """A job of ``really`` digests for which the script charged this."""
        job = ActiveJob(
            ClaimedJob(
                tenant="acme",
                job_id=b"id",
                due_ms=b"1",
                attempt=1,
                payload=b"",
                lease=b"w:1",
                charged_digests=digests,
                charged_cost=cost,
                claimed_at_ms=at_ms,
            ),
            one_sink(),
        )
        job.signatures = [None] * really
        return job

    def request(self) -> ClaimRequest:
        return self.limiter.claim_request("acme", most_jobs=1, most_digests=1)

    def answered(self, now_ms: int = 0, **changes: Any) -> None:
        self.answer(self.request(), now_ms, **changes)

    def answer(self, request: ClaimRequest, now_ms: int, **changes: Any) -> None:
        self.limiter.on_claim(request, ClaimResult(now_ms=now_ms, more=False, jobs=(), **changes))


def test_a_job_of_a_smaller_key_gets_back_what_it_was_charged_too_much() -> None:
    """The script charges by the dearest key; the next claim settles the difference, once."""
    account = Account(rate_per_s=100.0, burst=100.0)
    account.limiter.settle(account.claim(digests=10, cost=80.0, really=10), KeyKind.RSA_2048)
    assert account.owed() == (-70.0, 0)
    account.answered()
    assert account.owed() == (0.0, 0)


def test_a_job_without_hints_pays_for_what_it_has() -> None:
    """The difference to its charge is owed, in units of the rate and in digests of the budget."""
    account = Account(rate_per_s=1000.0, burst=1000.0, budget_digests=1000)
    account.limiter.settle(account.claim(digests=2, cost=16.0, really=64), KeyKind.RSA_2048)
    assert account.owed() == (48.0, 62)


@pytest.mark.parametrize(
    "cost, digests, really, owed",
    [
        pytest.param(80.0, 10, 10, (-70.0, 0), id="credit in cost"),
        pytest.param(80.0, 10, 2, (-78.0, -8), id="credit"),
        pytest.param(16.0, 2, 64, (48.0, 62), id="debt"),
    ],
)
def test_of_a_lost_claim_a_credit_is_used_up_and_a_debt_is_owed_still(
    cost: float, digests: int, really: int, owed: tuple[float, int]
) -> None:
    """Redis may have carried it out: the tenant gets less than its limit, never more."""
    account = Account(rate_per_s=1000.0, burst=1000.0, budget_digests=1000)
    account.limiter.settle(account.claim(digests=digests, cost=cost, really=really), KeyKind.RSA_2048)
    assert account.owed() == owed
    account.limiter.on_claim_lost(account.limiter.claim_request("acme", most_jobs=1, most_digests=1))
    assert account.owed() == (max(owed[0], 0.0), max(owed[1], 0))


def test_a_job_that_is_refused_costs_nothing() -> None:
    """It never reaches an HSM."""
    account = Account(rate_per_s=100.0, burst=100.0)
    account.limiter.settle_refused(account.claim(digests=3, cost=24.0, really=1))
    assert account.owed() == (-24.0, -3)


def test_a_credit_becomes_less_with_the_time_since_its_claim() -> None:
    """Ten units are a tenth of a second: so much would have passed without the charge, too. The jobs of one claim wait together."""
    account = Account(rate_per_s=100.0, burst=100.0)
    account.answered(now_ms=1000)
    for _ in range(2):
        account.limiter.settle_refused(account.claim(digests=3, cost=24.0, really=1, at_ms=1000))
    assert account.owed() == (-48.0, -6)
    request = account.request()
    account.limiter.on_claim_lost(request)  # of a Redis that does not answer; its credit is used up
    assert account.owed() == (0.0, 0)
    account.answered(now_ms=1100)
    account.limiter.settle_refused(account.claim(digests=3, cost=24.0, really=1, at_ms=1000))
    account.limiter.settle_refused(account.claim(digests=3, cost=24.0, really=1, at_ms=1100))
    assert account.request().credit_at_ms == 1100
    assert account.owed() == (-14.0 - 24.0, -6)
    account.limiter.settle_refused(account.claim(digests=1, cost=8.0, really=1, at_ms=500))
    assert account.owed() == (-38.0, -7)


def test_a_debt_does_not_become_less() -> None:
    """It is of digests that were signed."""
    account = Account(rate_per_s=100.0, burst=100.0)
    account.answered(now_ms=9000)
    account.limiter.settle(account.claim(digests=1, cost=8.0, really=12, at_ms=1000), KeyKind.RSA_4096)
    assert account.owed() == (88.0, 11)


def test_a_charge_of_yesterday_is_no_part_of_todays_budget() -> None:
    """A job that is refused after midnight."""
    account = Account(budget_digests=100)
    account.answered(now_ms=DAY_MS + 5)
    account.limiter.settle_refused(account.claim(digests=3, cost=0.0, really=3, at_ms=DAY_MS - 5))
    assert account.owed() == (0.0, 0)
    account.limiter.settle_refused(account.claim(digests=4, cost=0.0, really=4, at_ms=DAY_MS))
    assert account.owed() == (0.0, -4)


def test_what_was_charged_by_other_limits_gives_no_credit() -> None:
    """This includes a claim that was on its way when the limits changed."""
    account = Account(rate_per_s=1000.0, burst=100.0)
    account.answered(now_ms=1000)
    before = account.claim(digests=3, cost=24.0, really=1, at_ms=1000)
    on_its_way = account.request()
    account.adopt(rate_per_s=100.0, burst=100.0)
    account.limiter.settle_refused(before)
    assert account.owed() == (0.0, 0)
    account.answer(on_its_way, now_ms=1010)
    account.limiter.settle_refused(account.claim(digests=3, cost=24.0, really=1, at_ms=1010))
    assert account.owed() == (0.0, 0)
    account.answered(now_ms=1020)
    account.limiter.settle_refused(account.claim(digests=3, cost=24.0, really=1, at_ms=1020))
    assert account.owed() == (-24.0, -3)


def test_a_job_that_is_refused_after_it_was_settled_costs_nothing_either() -> None:
    """The budget of its key is asked last: neither the difference nor the token bucket counts it twice."""
    account = Account(rate_per_s=1.0, burst=100.0)
    job = account.claim(digests=3, cost=24.0, really=10)
    account.limiter.settle(job, KeyKind.RSA_4096)
    account.limiter.settle_refused(job)
    assert account.owed() == (-24.0, -3)
    account.limiter.settle(account.claim(digests=15, cost=120.0, really=15), KeyKind.RSA_4096)


def test_a_returned_job_is_refunded_once() -> None:
    """The nack script refunds the charge, so nothing is owed; the token bucket gets the cost back."""
    account = Account(rate_per_s=1.0, burst=100.0)
    job = account.claim(digests=10, cost=80.0, really=10)
    account.limiter.settle(job, KeyKind.RSA_4096)
    account.limiter.settle(account.claim(digests=5, cost=40.0, really=5), KeyKind.RSA_4096)
    account.limiter.refund(job)
    account.limiter.refund(job)
    assert account.owed() == (0.0, 0)
    account.limiter.settle(account.claim(digests=10, cost=80.0, really=10), KeyKind.RSA_4096)
    with pytest.raises(LimitRate):
        account.limiter.settle(account.claim(digests=1, cost=8.0, really=1), KeyKind.RSA_4096)


def test_a_redis_that_grants_too_much_meets_the_workers_own_rate_limit() -> None:
    """The job fails with ``limit.rate``, is counted, and owes nothing."""
    account = Account(rate_per_s=10.0, burst=10.0)
    account.limiter.settle(account.claim(digests=12, cost=12.0, really=12), KeyKind.RSA_2048)
    with pytest.raises(LimitRate):
        account.limiter.settle(account.claim(digests=1, cost=1.0, really=1), KeyKind.RSA_2048)
    assert account.owed() == (0.0, 0)
    value = account.registry.get_sample_value(
        "sigmill_limiter_decisions_total", {"tenant": "acme", "outcome": "hard_cap"}
    )
    assert value == 1


def test_a_tenant_without_a_rate_owes_nothing() -> None:
    """Its claims are not charged."""
    account = Account()
    account.limiter.settle(account.claim(digests=1, cost=0.0, really=64), KeyKind.RSA_4096)
    assert account.owed() == (0.0, 0)


def test_a_limited_tenant_is_not_claimed_for_before_its_limit_ends() -> None:
    """The result of the claim says when; the loop can sleep until the first of them."""
    account = Account(rate_per_s=10.0, burst=10.0)
    account.answered(wait_s=2.5, limited="rate")
    assert account.limiter.is_limited("acme")
    assert account.limiter.limited_until_s(["acme", "other"]) == pytest.approx(102.5)
    account.now_s = 102.6
    assert not account.limiter.is_limited("acme")
    assert account.limiter.limited_until_s(["acme"]) == float("inf")


def test_tenants_that_never_submit_have_no_series() -> None:
    """Thousands of tenants may be configured."""
    account = Account(backlog_digests=100)
    account.answered()
    samples = [sample for metric in account.registry.collect() for sample in metric.samples]
    assert not [sample for sample in samples if sample.labels.get("tenant") == "acme"]
    account.answered(limited="rate")
    sample = ("sigmill_limiter_decisions_total", {"tenant": "acme", "outcome": "rate"})
    assert account.registry.get_sample_value(*sample) == 1


def test_a_raised_limit_ends_the_wait() -> None:
    """The wait until midnight was for the old budget."""
    account = Account(budget_digests=1)
    account.answered(wait_s=80_000.0, limited="budget")
    assert account.limiter.is_limited("acme")
    account.adopt(budget_digests=1000)
    assert not account.limiter.is_limited("acme")
    assert account.limiter.limited_until_s(["acme"]) == math.inf


def admitted(bucket: TokenBucket, cost: float, until_s: float, step_s: float = 0.001) -> float:
    total, now_s = 0.0, 0.0
    while now_s < until_s:
        if bucket.try_take(cost, now_s):
            total += cost
        now_s += step_s
    return total


def test_the_whole_limit_passes_through_one_worker() -> None:
    """Rate and burst of the tenant are never cut."""
    bucket = TokenBucket(rate_per_s=100.0, burst=50.0, now_s=0.0)
    assert all(bucket.try_take(1.0, 0.0) for _ in range(50))
    assert all(bucket.try_take(1.0, i / 100) for i in range(1, 1000))


def test_a_redis_that_grants_everything_gets_a_fifth_more_at_most() -> None:
    """The bucket admits rate and burst, times the slack."""
    bucket = TokenBucket(rate_per_s=100.0, burst=50.0, now_s=0.0)
    assert admitted(bucket, 1.0, 10.0) == pytest.approx(SLACK * (50 + 100 * 10), rel=0.01)


def test_an_idle_tenant_saves_up_no_more_than_its_burst() -> None:
    """An hour without a job fills the bucket, and no more."""
    bucket = TokenBucket(rate_per_s=100.0, burst=50.0, now_s=0.0)
    assert sum(bucket.try_take(1.0, 3600.0) for _ in range(1000)) == round(SLACK * 50)


def test_a_job_larger_than_the_burst_is_possible_and_paid_for() -> None:
    """It needs a full bucket, and the next job waits until the overdraft is refilled."""
    bucket = TokenBucket(rate_per_s=10.0, burst=10.0, now_s=0.0)
    assert bucket.try_take(1.0, 0.0)
    assert not bucket.try_take(100.0, 0.0)
    assert bucket.try_take(100.0, 0.1)
    assert not bucket.try_take(1.0, 5.0)
    assert bucket.try_take(1.0, 8.0)


def test_a_refund_refills_the_bucket() -> None:
    """A refund fills it to its burst at most, times the slack."""
    bucket = TokenBucket(rate_per_s=1.0, burst=10.0, now_s=0.0)
    assert bucket.try_take(12.0, 0.0)
    assert not bucket.try_take(1.0, 0.0)
    bucket.refund(12.0, taken_at_s=0.0, now_s=0.0)
    bucket.refund(1000.0, taken_at_s=0.0, now_s=0.0)
    assert bucket.try_take(12.0, 0.0)
    assert not bucket.try_take(1.0, 0.0)


def test_a_late_refund_undoes_no_cost_of_another_job() -> None:
    """The cost of the first was refilled before the second one took it."""
    bucket = TokenBucket(rate_per_s=1.0, burst=10.0, now_s=0.0)
    assert bucket.try_take(12.0, 0.0)
    assert bucket.try_take(12.0, 10.0)
    bucket.refund(12.0, taken_at_s=0.0, now_s=10.0)
    assert not bucket.try_take(1.0, 10.0)


def test_a_smaller_limit_counts_at_once() -> None:
    """The level is cut to the new burst."""
    bucket = TokenBucket(rate_per_s=100.0, burst=100.0, now_s=0.0)
    bucket.adjust(rate_per_s=1.0, burst=10.0)
    assert bucket.try_take(12.0, 0.0)
    assert not bucket.try_take(1.0, 0.0)
