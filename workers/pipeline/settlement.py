"""Settlement of finished jobs: the last step of a job in this worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from queueing.errors import HsmFault
from workers.active_job import Ending

if TYPE_CHECKING:
    from workers.active_job import ActiveJob
    from workers.active_jobs import ActiveJobs
    from workers.limits.grant_budgets import GrantBudgets
    from workers.limits.key_budgets import KeyBudgets
    from workers.limits.rate_limiter import RateLimiter


class SettlementListener(Protocol):
    """Receiver of settled jobs, which can then claim more."""

    def job_settled(self, job: ActiveJob) -> None:
        """The job left this worker; must not block."""


class JobSettlement:
    """Gives back what a job reserved, once its commit was answered, or its nack was sent.

    A nack without an answer is not repeated: the job's lease then runs out, and it is claimed again.
    """

    def __init__(
        self,
        *,
        budgets: KeyBudgets,
        grants: GrantBudgets,
        limiter: RateLimiter,
        jobs: ActiveJobs,
        listener: SettlementListener,
    ) -> None:
        self._budgets = budgets
        self._grants = grants
        self._limiter = limiter
        self._jobs = jobs
        self._listener = listener

    def settle(self, job: ActiveJob) -> None:
        """Settle one job, in this order.

        1. The budget of its key, and its grant: digests that were not signed are given back.
        2. The limiter, of a job that returns: its charge is refunded. Not after a fault of the HSM, which may have
           signed.
        3. The register: the lease is not extended any more. Not earlier: until the commit is answered the lease is ours,
           and no other worker may sign the job.
        4. The claim loop: last, so that it claims with the limits as they are after the job.
        """
        self._budgets.settle(job)
        self._grants.settle(job)
        if job.ending is Ending.RETURN and not isinstance(job.unavailable, HsmFault):
            self._limiter.refund(job)
        self._jobs.remove(job)
        self._listener.job_settled(job)
