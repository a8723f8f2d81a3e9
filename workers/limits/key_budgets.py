"""The budgets of keys: digests are reserved before their dispatch, and what was not signed is given back.

A budget is counted in Redis, so it holds over all workers and against clients, not against whoever writes to Redis
(docs/security.md). What a worker that dies has not given back is spent, and so is what a lost answer leaves in doubt:
the error is on the side of signing less.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from queueing.coordination import key_usage as spending
from queueing.coordination.key_usage import UsagePeriod
from queueing.errors import LimitBudget, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from workers.active_job import ActiveJob
    from workers.config.key_policy import Budget
    from workers.config.tenants import Tenant

log = logging.getLogger("sigmill.budgets")


GIVE_BACK_S: Final = 0.5


class KeyBudgets:
    """Reservations of this worker. Costs nothing for keys without a budget."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._reserved: dict[ActiveJob, tuple[UsagePeriod, int]] = {}
        self._to_give_back: Counter[UsagePeriod] = Counter()

    async def reserve(
        self, jobs: Sequence[ActiveJob], tenants: dict[str, Tenant], now_ms: int
    ) -> dict[ActiveJob, LimitBudget]:
        """Reserve each job's digests; the jobs that do not fit any more, and why. Raises ``QueueUnavailable``."""
        wanted: dict[UsagePeriod, list[ActiveJob]] = {}
        budgets: dict[UsagePeriod, Budget] = {}
        for job in jobs:
            budget = _budget(job, tenants)
            if budget is not None and job.envelope is not None:
                account = UsagePeriod(
                    job.claimed.tenant, job.envelope.key, budget.period(now_ms), budget.period_s
                )
                wanted.setdefault(account, []).append(job)
                budgets[account] = budget
        if not wanted:
            return {}
        amounts = {account: sum(job.digests for job in these) for account, these in wanted.items()}
        totals = await self._take(amounts)
        refused: dict[ActiveJob, LimitBudget] = {}
        for account, these in wanted.items():
            left = budgets[account].digests - (totals[account] - amounts[account])
            for job in these:
                if job.digests <= left:
                    left -= job.digests
                    self._reserved[job] = (account, job.digests)
                else:
                    self._to_give_back[account] += job.digests
                    refused[job] = LimitBudget(
                        f"rule `budget`: the key has {max(left, 0)} of {budgets[account].digests} digests left",
                        retry_after_s=budgets[account].left_s(now_ms),
                    )
        return refused

    async def _take(self, amounts: Mapping[UsagePeriod, int]) -> dict[UsagePeriod, int]:
        """All of it, or ``QueueUnavailable``: then what Redis took is given back soon."""
        answers = await spending.increment(self._redis, amounts)
        totals = {account: total for account, total in answers.items() if isinstance(total, int)}
        for answer in answers.values():
            if isinstance(answer, QueueUnavailable):
                self._to_give_back.update({account: amounts[account] for account in totals})
                raise answer
        return totals

    def settled(self, job: ActiveJob) -> None:
        """The job has ended or went back: what was not signed is given back soon."""
        reserved = self._reserved.pop(job, None)
        if reserved is not None:
            account, digests = reserved
            signed = 0 if job.unavailable is not None else sum(s is not None for s in job.signatures)
            if digests > signed:
                self._to_give_back[account] += digests - signed

    async def run(self) -> None:
        """Give back what was not signed, for ever."""
        while True:
            await asyncio.sleep(GIVE_BACK_S)
            await self.give_back()

    async def give_back(self) -> None:
        """Give back now. What Redis refuses is kept for the next time; what it has perhaps taken is not."""
        if not self._to_give_back:
            return
        amounts, self._to_give_back = self._to_give_back, Counter()
        answers = await spending.increment(self._redis, {account: -n for account, n in amounts.items()})
        errors = {account: e for account, e in answers.items() if isinstance(e, QueueUnavailable)}
        for account, error in errors.items():
            if not error.perhaps_done:
                self._to_give_back[account] += amounts[account]
        for error in islice(errors.values(), 1):
            log.warning("redis.failed", extra={"operation": "budgets", "why": str(error)})


def _budget(job: ActiveJob, tenants: dict[str, Tenant]) -> Budget | None:
    tenant = tenants.get(job.claimed.tenant)
    key = None if tenant is None or job.envelope is None else tenant.keys.get(job.envelope.key)
    return None if key is None else key.policy.budget
