"""Worker's side of the queue: claim, extend, commit and nack, for many tenants in one round trip.

One tenant's damaged keys, or an answer of another shape than the script's, affect that tenant alone: a claim and a commit
answer for it with a ``QueueUnavailable``, an extension keeps its jobs for the next one, a nack leaves them to the end of their
leases. ``QueueUnavailable`` is raised when the round trip failed: what was done is then unknown. All but a claim may be
sent again by redis-py: a second one would lease a second batch, which no worker processes. A lease is ``owner:fence``; an
owner whose fence is not the last one changes nothing any more (ADR 0009).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from queueing.broker.claim_values import ClaimedJob, ClaimRequest, ClaimResult, decode_claim
from queueing.errors import QueueUnavailable, QueueUnconfirmed
from queueing.protocol import keyspace
from queueing.redis import scripts
from queueing.redis.cluster import ClusterRedis
from queueing.redis.errors import REDIS_ERRORS, raise_outage, redis_errors, unavailable
from queueing.redis.script_answers import checked_each
from queueing.redis.scripts import Script, ScriptCall
from queueing.redis.send_once import LostAnswers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from queueing.config.accept_level import ReplicaWait

__all__ = ["ClaimRequest", "ClaimResult", "ClaimedJob", "Claims", "Commit", "CommitStatus", "Retention"]


class CommitStatus(IntEnum):
    """Result of a commit. ``FENCED``: another worker has claimed the job since, and nothing was published."""

    FENCED = 0
    COMMITTED = 1
    REPEATED = 2


@dataclass(frozen=True, slots=True)
class Commit:
    """One finished job: its lease, arq's result bytes, the reply id of the client that waits for it ('' for none), and its dead letter, if it is one."""

    job_id: bytes
    lease: bytes
    result: bytes
    reply_id: str
    dead_letter: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Retention of results under their key, and in a client's reply stream, in ms."""

    result_ms: int
    reply_ms: int = 120_000


class Claims:
    """Claims of one worker, the ``owner`` of their leases, all with the same lease time.

    ``wait``: for the replicas that must have a claim or a commit before it counts. What a failover forgets of the rest
    is extended or given back once more.
    """

    def __init__(self, redis: Redis, *, owner: str, lease_ms: int, wait: ReplicaWait | None = None) -> None:
        self._redis = redis
        self._owner = owner
        self._lease_ms = lease_ms
        self._wait = wait
        self._lost_answers = LostAnswers()

    def shard_of(self, tenant: str) -> str:
        """Address of the shard that has the tenant's keys, as far as it is known; empty for a single Redis. No I/O."""
        if not isinstance(self._redis, ClusterRedis):
            return ""
        owner = self._redis.topology.known_owner(keyspace.queue(tenant))
        return tenant if owner is None else f"{owner[0]}:{owner[1]}"

    async def _run(self, action: str, calls: Sequence[ScriptCall]) -> list[Any]:
        with redis_errors(action):
            return await scripts.run_each(self._redis, calls)

    async def claim(
        self, requests: Sequence[ClaimRequest]
    ) -> list[ClaimResult | QueueUnavailable | QueueUnconfirmed]:
        """Lease what is due, per tenant, and charge what is owed.

        ``QueueUnconfirmed`` is the answer if too few replicas have a tenant's leases in time: they were given back, as far
        as Redis took that, and what was owed is charged; it is raised where no tenant was charged anything, as by a
        demoted primary. Raises ``QueueUnavailable``; with ``perhaps_done`` the answer is lost: the leases, if there are
        any, run out, which counts as a crash of their jobs. Until that server has answered a PING it is sent no other
        claim: a server that hangs would execute each of them when it resumes. In a cluster each shard answers for
        its tenants, and what is raised for one Redis is their answer.
        """
        calls = [
            ScriptCall(
                Script.CLAIM,
                (
                    keyspace.queue(r.tenant),
                    keyspace.fence(r.tenant),
                    keyspace.claims(r.tenant),
                    keyspace.armed(r.tenant),
                    keyspace.backlog(r.tenant),
                    keyspace.limiter(r.tenant),
                ),
                (self._owner, self._lease_ms, *r.script_args()),
            )
            for r in requests
        ]
        with redis_errors("claim jobs"):
            answers, confirmed = await scripts.run_confirmed(
                self._redis, calls, self._wait, once=self._lost_answers
            )
        claimed = [
            _claimed(r.tenant, self._owner, answer) for r, answer in zip(requests, answers, strict=True)
        ]
        unsure = [answer for answer, sure in zip(claimed, confirmed, strict=True) if not sure]
        if not unsure:
            return [*claimed]
        await self._give_up(unsure)
        if not any(isinstance(answer, ClaimResult) for answer in claimed):
            raise QueueUnconfirmed
        return [
            answer if sure or not isinstance(answer, ClaimResult) else QueueUnconfirmed()
            for answer, sure in zip(claimed, confirmed, strict=True)
        ]

    async def _give_up(self, answers: Sequence[ClaimResult | QueueUnavailable]) -> None:
        """Give back leases that another primary may not know: the job could be signed twice under them."""
        jobs = [job for a in answers if isinstance(a, ClaimResult) for job in (*a.jobs, *a.excess)]
        by_tenant: dict[str, list[ClaimedJob]] = {}
        for job in jobs:
            by_tenant.setdefault(job.tenant, []).append(job)
        if by_tenant:
            with contextlib.suppress(QueueUnavailable):  # then they run out
                await self.nack(by_tenant, counts=False)

    async def extend(self, jobs: dict[str, list[ClaimedJob]]) -> list[ClaimedJob]:
        """Extend the leases of these jobs, by tenant; answers those that are lost.

        A tenant whose answer is an error has lost none. Raises ``QueueUnavailable``, also where a shard did not answer or an
        answer cannot be read, unless jobs of other tenants are lost.
        """
        calls = [
            ScriptCall(
                Script.EXTEND,
                (keyspace.queue(tenant), keyspace.claims(tenant)),
                (self._lease_ms, *(part for job in held for part in (job.job_id, job.lease))),
            )
            for tenant, held in jobs.items()
        ]
        answers = await self._run("extend leases", calls)
        lost: list[ClaimedJob] = []
        failures: list[Exception] = []
        for held, answer in zip(jobs.values(), answers, strict=True):
            try:
                extended = checked_each(answer, list[int], len(held))
            except REDIS_ERRORS as error:
                failures.append(error)
            else:
                lost += [job for job, kept in zip(held, extended, strict=True) if not kept]
        if not lost:
            with redis_errors("extend leases"):
                raise_outage(failures)
        return lost

    async def commit(
        self, commits: dict[str, list[Commit]], retention: Retention
    ) -> dict[str, list[CommitStatus] | QueueUnavailable | QueueUnconfirmed]:
        """Publish results, by tenant: an outcome each, or the error of that tenant. Raises ``QueueUnavailable``, and
        ``QueueUnconfirmed`` where too few replicas have any of them in time (in a cluster it is the answer for the tenants of the
        shards where it is so): what was published stays, and is to be committed again, with the same bytes.
        """
        calls = [
            ScriptCall(
                Script.COMMIT,
                (
                    keyspace.queue(tenant),
                    keyspace.claims(tenant),
                    keyspace.backlog(tenant),
                    keyspace.dead_letters(tenant),
                ),
                (
                    keyspace.reply_prefix(tenant),
                    retention.result_ms,
                    retention.reply_ms,
                    *(
                        part
                        for c in batch
                        for part in (c.job_id, c.lease, c.result, c.reply_id, c.dead_letter)
                    ),
                ),
            )
            for tenant, batch in commits.items()
        ]
        with redis_errors("commit results"):
            answers, confirmed = await scripts.run_confirmed(self._redis, calls, self._wait)
        if not any(confirmed):
            raise QueueUnconfirmed
        return {
            tenant: _committed(answer, len(batch)) if sure else QueueUnconfirmed()
            for (tenant, batch), answer, sure in zip(commits.items(), answers, confirmed, strict=True)
        }

    async def nack(
        self,
        jobs: dict[str, list[ClaimedJob]],
        *,
        counts: bool,
        refund: bool | None = None,
        delay_ms: int = 0,
    ) -> None:
        """Give leased jobs back unsigned: to their old place, or due ``delay_ms`` from now.

        ``counts``: the attempt counts against the job. ``refund``: its charge is refunded; None: unless the
        attempt counts. Raises ``QueueUnavailable``.
        """
        refund = not counts if refund is None else refund
        calls = [
            ScriptCall(
                Script.NACK,
                (
                    keyspace.queue(tenant),
                    keyspace.claims(tenant),
                    keyspace.armed(tenant),
                    keyspace.limiter(tenant),
                ),
                (
                    int(counts),
                    int(refund),
                    delay_ms,
                    keyspace.doorbell(tenant),
                    tenant,
                    *(part for j in held for part in (j.job_id, j.lease, j.due_ms)),
                ),
            )
            for tenant, held in jobs.items()
        ]
        answers = await self._run("give jobs back", calls)
        with redis_errors("give jobs back"):
            raise_outage(answers)


def _committed(answer: Any, results: int) -> list[CommitStatus] | QueueUnavailable:
    try:
        return checked_each(answer, list[CommitStatus], results)
    except REDIS_ERRORS as error:
        return unavailable("commit results", error)


def _claimed(tenant: str, owner: str, answer: Any) -> ClaimResult | QueueUnavailable:
    try:
        return decode_claim(tenant, owner, answer)
    except REDIS_ERRORS as error:
        return unavailable("claim jobs", error)
