"""Token bucket of one tenant in one worker, with a fake clock."""

from __future__ import annotations

import pytest

from workers.limits.token_bucket import SLACK, TokenBucket


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


def test_a_job_larger_than_the_burst_is_possible_and_paid_for() -> None:
    """It needs a full bucket, and the next job waits until the overdraft is refilled."""
    bucket = TokenBucket(rate_per_s=10.0, burst=10.0, now_s=0.0)
    assert bucket.try_take(100.0, 0.0)
    assert not bucket.try_take(1.0, 5.0)
    assert bucket.try_take(1.0, 8.0)


def test_a_refund_refills_the_bucket() -> None:
    """Never above the burst."""
    bucket = TokenBucket(rate_per_s=1.0, burst=10.0, now_s=0.0)
    assert bucket.try_take(12.0, 0.0)
    assert not bucket.try_take(1.0, 0.0)
    bucket.refund(12.0)
    bucket.refund(1000.0)
    assert bucket.try_take(12.0, 0.0)
    assert not bucket.try_take(1.0, 0.0)


def test_a_smaller_limit_counts_at_once() -> None:
    """The level is cut to the new burst."""
    bucket = TokenBucket(rate_per_s=100.0, burst=100.0, now_s=0.0)
    bucket.adjust(rate_per_s=1.0, burst=10.0)
    assert bucket.try_take(12.0, 0.0)
    assert not bucket.try_take(1.0, 0.0)
