"""Values of a claim: the request for jobs of a tenant, the leased jobs, and the answer of the claim script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from queueing.protocol.limits import NO_LIMITS, ClaimLimits
from queueing.redis.script_answers import checked, malformed


class Settled(NamedTuple):
    """Difference between the true cost of jobs of one claim and their charge: negative where this was too much."""

    claimed_at_ms: int
    cost: float
    digests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Request for jobs of one tenant, as many as the worker can start now.

    ``owed_*``: undercharge of earlier claims, by the actual digests and algorithms of their jobs; ``credit_*``: overcharge, as it
    was at ``credit_at_ms`` (Unix ms, Redis' clock); it becomes less with time. ``settled``: what both were made of. ``suspect_at``: a job that crashed so often is claimed alone, 0 never; ``alone``: this worker has no other
    job of the tenant.
    """

    tenant: str
    most_jobs: int
    most_digests: int
    limits: ClaimLimits = NO_LIMITS
    owed_cost: float = 0.0
    owed_digests: int = 0
    credit_cost: float = 0.0
    credit_digests: int = 0
    credit_at_ms: int = 0
    settled: tuple[Settled, ...] = ()
    suspect_at: int = 0
    alone: bool = False

    def script_args(self) -> tuple[str | int, ...]:
        """The arguments of the claim script, from the third on."""
        limits, costs = self.limits.script_args()
        owed = (round(self.owed_cost * 1000), self.owed_digests)
        credit = (int(self.credit_cost * 1000), self.credit_digests, self.credit_at_ms)
        unnamed, *named = costs
        return (
            self.most_jobs, self.most_digests, *limits, *owed, *credit, unnamed, self.suspect_at, int(self.alone), *named
        )  # fmt: skip


class ClaimedJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A leased job. ``payload`` is arq's bytes, None where the job's key is gone.

    ``job_id`` is as Redis holds it: bytes, which need not be UTF-8. ``due_ms`` is its place in the queue,
    as text, to be given back unchanged. ``attempt`` counts from 1; ``crashes`` of the attempts before it ended with
    their lease. ``alone``: a suspect, with which nothing else of its tenant may be in work. ``charged_*``: what the limiter
    charged, by the unsigned hints of the job; the cost in units, 0 where the tenant has no rate. ``claimed_at_ms``: Unix ms, Redis' clock.
    """

    tenant: str
    job_id: bytes
    due_ms: bytes
    attempt: int
    payload: bytes | None
    lease: bytes
    charged_digests: int = 0
    charged_cost: float = 0.0
    crashes: int = 0
    alone: bool = False
    claimed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The answer for one tenant; ``more`` when due jobs were left in the queue. Redis' clock in Unix ms.

    ``excess``: the newest of a backlog far over its cap, leased to be refused. ``wait_s``: time until a limit
    admits the next job; ``limited`` names the limit ('rate', 'budget' or ''). ``budget_left`` None: no budget. ``replaced``: keys
    of ours that held a foreign type. ``suspect_next``: the next job is a suspect, to be claimed when
    nothing else of the tenant is in work.
    """

    now_ms: int
    more: bool
    jobs: tuple[ClaimedJob, ...]
    excess: tuple[ClaimedJob, ...] = ()
    wait_s: float = 0.0
    limited: str = ""
    budget_left: int | None = None
    backlog_digests: int = 0
    backlog_bytes: int = 0
    refused: int = 0
    replaced: int = 0
    suspect_next: bool = False


class _JobReply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A job in the answer of lua/claim.lua, in its order."""

    job_id: bytes
    due_ms: bytes
    attempt: int
    payload: bytes | None
    charged_digests: int
    charged_milli_units: int
    crashes: int


class _ClaimReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer of lua/claim.lua, in its order; the last ``excess`` of the jobs are to be refused."""

    now_ms: int
    fence: bytes
    more: int
    jobs: list[_JobReply]
    excess: int
    wait_ms: int
    limited: bytes
    budget_left: int
    backlog_digests: int
    backlog_bytes: int
    refused: int
    replaced: int
    isolated: int


_SUSPECT_TAKEN, _SUSPECT_NEXT = 1, 2  # ``isolated``
_NO_BUDGET = -1  # ``budget_left``
_LIMITED = {b"": "", b"rate": "rate", b"budget": "budget"}


def decode_claim(tenant: str, owner: str, answer: Any) -> ClaimResult:
    """Result of a claim by ``owner`` from the answer of lua/claim.lua.

    Raises the ``RedisError`` that the answer is, and ``AnswerMalformed``: the leases that it took are then unknown.
    """
    reply = checked(answer, _ClaimReply)
    limited = _LIMITED.get(reply.limited)
    if limited is None or not 0 <= reply.excess <= len(reply.jobs):
        raise malformed("no such limit" if limited is None else "more jobs in excess than there are")
    lease = owner.encode() + b":" + reply.fence
    jobs = [
        ClaimedJob(
            tenant=tenant,
            job_id=job.job_id,
            due_ms=job.due_ms,
            attempt=job.attempt,
            payload=job.payload,
            lease=lease,
            charged_digests=job.charged_digests,
            charged_cost=job.charged_milli_units / 1000,
            crashes=job.crashes,
            alone=reply.isolated == _SUSPECT_TAKEN,
            claimed_at_ms=reply.now_ms,
        )
        for job in reply.jobs
    ]
    within = len(jobs) - reply.excess
    return ClaimResult(
        now_ms=reply.now_ms,
        more=bool(reply.more),
        jobs=tuple(jobs[:within]),
        excess=tuple(jobs[within:]),
        wait_s=reply.wait_ms / 1000,
        limited=limited,
        budget_left=None if reply.budget_left == _NO_BUDGET else reply.budget_left,
        backlog_digests=reply.backlog_digests,
        backlog_bytes=reply.backlog_bytes,
        refused=reply.refused,
        replaced=reply.replaced,
        suspect_next=reply.isolated == _SUSPECT_NEXT,
    )
