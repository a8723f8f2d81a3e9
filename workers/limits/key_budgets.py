"""Budgets of keys: digests are reserved before their dispatch, and those that were not signed are given back.

Usage is counted in Redis: a budget holds over all workers and against clients, but not against an attacker who can
write to Redis (docs/security.md). Reservations of a worker that crashes stay spent, and so do those whose reply is
lost: the error is on the side of signing less.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from queueing.coordination import key_usage
from queueing.coordination.key_usage import UsagePeriod
from queueing.errors import LimitBudget, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from workers.active_job import ActiveJob
    from workers.config.key_policy import Budget
    from workers.current_config import CurrentConfig

log = logging.getLogger("sigmill.budgets")


RETURN_S: Final = 0.5
"""Time between two returns of unused reservations: one round trip for all jobs that ended meanwhile."""


class KeyBudgets:
    """Reservations of this worker. Costs nothing for keys without a budget."""

    def __init__(self, redis: Redis, config: CurrentConfig) -> None:
        self._redis = redis
        self._config = config
        self._reserved: dict[ActiveJob, tuple[UsagePeriod, int]] = {}
        self._unused: Counter[UsagePeriod] = Counter()

    def has_budget(self, job: ActiveJob) -> bool:
        """Whether the key that the job asks for has a budget."""
        return self._budget(job) is not None

    async def reserve(
        self, jobs: Sequence[ActiveJob], now_ms: int
    ) -> dict[ActiveJob, LimitBudget | QueueUnavailable]:
        """Reserve each job's digests, in at most one round trip; the jobs for which nothing is reserved, with the reason.

        ``LimitBudget``: the job exceeds its budget. ``QueueUnavailable``: Redis did not count; other keys' jobs are not
        affected. Raises nothing.
        """
        wanted: dict[UsagePeriod, list[ActiveJob]] = {}
        budgets: dict[UsagePeriod, Budget] = {}
        for job in jobs:
            budget = self._budget(job)
            if budget is not None and job.envelope is not None:
                period = UsagePeriod(
                    job.claimed.tenant, job.envelope.key, budget.period(now_ms), budget.period_s
                )
                wanted.setdefault(period, []).append(job)
                budgets[period] = budget
        if not wanted:
            return {}
        amounts = {period: sum(job.digests for job in these) for period, these in wanted.items()}
        totals = await key_usage.increment(self._redis, amounts)
        refused: dict[ActiveJob, LimitBudget | QueueUnavailable] = {}
        for period, these in wanted.items():
            total = totals[period]
            if isinstance(total, QueueUnavailable):
                refused.update(dict.fromkeys(these, total))
                continue
            left = budgets[period].digests - (total - amounts[period])
            for job in these:
                if job.digests <= left:
                    left -= job.digests
                    self._reserved[job] = (period, job.digests)
                else:
                    self._unused[period] += job.digests
                    refused[job] = LimitBudget(
                        f"rule `budget`: the key has {max(left, 0)} of {budgets[period].digests} digests left",
                        retry_after_s=budgets[period].left_s(now_ms),
                    )
        return refused

    def settle(self, job: ActiveJob) -> None:
        """Give back soon what was reserved for this job and not signed; it was published or returned."""
        reserved = self._reserved.pop(job, None)
        if reserved is not None:
            period, digests = reserved
            spent = _spent(job)
            if digests > spent:
                self._unused[period] += digests - spent

    async def run(self) -> None:
        """Give back unused reservations until cancelled."""
        while True:
            await asyncio.sleep(RETURN_S)
            await self.return_unused()

    async def return_unused(self) -> None:
        """Give back now. Amounts that Redis refuses are kept for the next time; those that it may have counted are not."""
        if not self._unused:
            return
        amounts, self._unused = self._unused, Counter()
        answers = await key_usage.increment(self._redis, {period: -n for period, n in amounts.items()})
        errors = {period: e for period, e in answers.items() if isinstance(e, QueueUnavailable)}
        for period, error in errors.items():
            if not error.perhaps_done:
                self._unused[period] += amounts[period]
        for error in islice(errors.values(), 1):
            log.warning("redis.failed", extra={"operation": "budgets", "why": str(error)})

    def _budget(self, job: ActiveJob) -> Budget | None:
        tenant = self._config.tenants.get(job.claimed.tenant)
        key = None if tenant is None or job.envelope is None else tenant.keys.get(job.envelope.key)
        return None if key is None else key.policy.budget


def _spent(job: ActiveJob) -> int:
    """Digests of a settled job that are signed, or may be; none of a requeued one, which reserves them again."""
    if job.failure is not None:
        return job.dropped
    return 0 if job.unavailable is not None else sum(signature is not None for signature in job.signatures)
