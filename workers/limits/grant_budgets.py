"""Digests of grants over the lanes of this host, and over hosts.

Per host they are counted from the write-ahead log, which has the grant in each intent: the count survives a restart, and where the
log cannot be read whole, grants that a former process may have used are refused. Over hosts they are added up in Redis every
``SHARE_S``, and before a job of a grant that is new here or more than half used; an attacker who can write to Redis gets the cap
once per host. What hosts may sign beyond the cap meanwhile is in docs/security.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from queueing.aio.events import wait_for
from queueing.coordination import key_usage
from queueing.coordination.key_usage import UsagePeriod
from queueing.errors import QueueUnavailable
from queueing.protocol.grants.grant import client_of
from queueing.unix_time import unix_ms
from workers.lanes.authorisation import is_unauthenticated
from workers.lanes.grant_usage import KEPT_MS, GrantUsage, name_of
from workers.limits.grant_recovery import UncountedGrants, counted_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from redis.asyncio import Redis

    from queueing.protocol.grants.grant import Grant
    from workers.active_job import ActiveJob
    from workers.current_config import CurrentConfig
    from workers.lanes.grant_usage import GrantName

log = logging.getLogger("sigmill.budgets")

SHARE_S: Final = 0.5
"""Time between two exchanges with Redis."""

SHARE_NEAR_CAP_S: Final = 0.02
"""The same after a job of a grant that is more than half used: other hosts read before they sign under it."""

_KEPT_S: Final = 86_400 + KEPT_MS // 1000
"""Longest life of a grant, and of its count in Redis."""


class GrantBudgets:
    """Counts of this worker. Costs nothing for jobs of clients."""

    def __init__(self, redis: Redis, config: CurrentConfig, usage: GrantUsage | None = None) -> None:
        self._redis = redis
        self._config = config
        self._usage = GrantUsage() if usage is None else usage
        self._reserved: dict[ActiveJob, tuple[GrantName, int]] = {}
        self._reserved_of: Counter[GrantName] = Counter()
        self._unsent: Counter[GrantName] = Counter()
        self._sent: Counter[GrantName] = Counter()
        self._uncounted: UncountedGrants | None = None
        self._uncounted_until_ms = 0
        self._exchanging = asyncio.Lock()
        self._due = asyncio.Event()

    @property
    def uncounted(self) -> bool:
        """Whether grants from before the start are refused, because the log does not say how much of them is used."""
        return self._uncounted is not None

    async def refresh(self, jobs: Iterable[ActiveJob]) -> None:
        """Take over what other hosts have added to grants of these jobs that are new here, or more than half used.

        One round trip, or none. Raises nothing: while Redis is away, the counts of this host hold alone.
        """
        near = {
            name_of(job.grant): job.grant
            for job in jobs
            if job.grant is not None and self._usage.nears_cap(job.grant, self._under_way(job))
        }
        if near:
            await self._exchange(near)

    def reserve(self, job: ActiveJob, now_ms: int) -> None:
        """Reserve the digests of a job under a grant until it is settled.

        Raises ``GrantExhausted`` (final), or ``LimitRate`` or ``LogUnavailable`` (retryable).
        """
        grant = job.grant
        if grant is None:
            return
        if self._uncounted is not None:
            self._uncounted.check(grant, now_ms)
        name = name_of(grant)
        if self._usage.check(grant, job.content, job.digests, reserved=self._reserved_of[name]):
            self._reserved[job] = (name, job.digests)
            self._reserved_of[name] += job.digests

    def settle(self, job: ActiveJob) -> None:
        """Count what the job has signed, or may have, and end its reservation; it was published or returned."""
        reserved = self._reserved.pop(job, None)
        if reserved is None or job.grant is None:
            return
        name, digests = reserved
        self._reserved_of[name] -= digests
        if not self._reserved_of[name]:
            del self._reserved_of[name]
        if _may_be_signed(job) and self._usage.count(job.grant, job.content, digests):
            self._unsent[name] += digests
            if self._usage.nears_cap(job.grant, self._reserved_of[name]):
                self._due.set()

    async def recover(self, log_folder: Path, now_ms: int) -> None:
        """Count what the write-ahead log has of grants that may be in use; before the first claim.

        Reads the segments of the longest life of a grant in the configuration, and none where no tenant has an issuer.
        Where something cannot be read, grants that began before the start are refused from now on; everything else continues.
        """
        longest_ms = max(
            (i.max_grant_ms for t in self._config.tenants.values() for i in t.issuers.values()), default=None
        )
        if longest_ms is None:
            return
        since_s = (now_ms - longest_ms - KEPT_MS) / 1000
        found = await asyncio.to_thread(counted_before, log_folder, since_s=since_s)
        if found.lacking:
            self._uncounted = UncountedGrants(now_ms)
            self._uncounted_until_ms = now_ms + longest_ms + KEPT_MS
            log.error("grants.uncounted", extra={"why": found.lacking})
        for grant, content, digests in found.counted:
            self._usage.count(grant, content, digests)
        self._usage.forget_expired(now_ms)
        # They are in Redis' counters, too, apart from those of the last half second.
        self._sent = Counter({name: self._usage.digests(name) for name in self._usage})

    async def run(self) -> None:
        """Exchange counts with Redis until cancelled."""
        while True:
            await asyncio.sleep(SHARE_NEAR_CAP_S)
            await wait_for(self._due, SHARE_S - SHARE_NEAR_CAP_S)
            await self.share()
            self.forget_expired(unix_ms())

    async def share(self) -> None:
        """Add what is new to the counters in Redis, and take over what other hosts have added. One round trip, or none."""
        self._due.clear()
        if self._unsent:
            await self._exchange({})

    async def _exchange(self, also: Mapping[GrantName, Grant]) -> None:
        """Add what is new to the counters in Redis, and read these and the counters of the grants ``also``; one round trip.

        One at a time: the answer to another one would have digests that are not known as sent yet, and would be counted twice.
        """
        async with self._exchanging:
            amounts, self._unsent = self._unsent, Counter()
            wanted = {name: amounts[name] for name in (*amounts, *also)}
            answers = await key_usage.increment(self._redis, {_counter(n): d for n, d in wanted.items()})
            failed: list[QueueUnavailable] = []
            for name, digests in wanted.items():
                total = answers[_counter(name)]
                if isinstance(total, QueueUnavailable):
                    failed.append(total)
                    if digests and not total.perhaps_done:
                        self._unsent[name] += digests
                    continue
                self._sent[name] += digests
                self._usage.set_elsewhere(name, total - self._sent[name], also.get(name))
        for error in islice(failed, 1):
            log.warning("redis.failed", extra={"operation": "grants", "why": str(error)})

    def forget_expired(self, now_ms: int) -> None:
        """Forget grants that have ended."""
        self._usage.forget_expired(now_ms)
        if now_ms > self._uncounted_until_ms:
            self._uncounted = None
        known = set(self._usage)
        for name in [name for name in self._sent if name not in known]:
            del self._sent[name]

    def _under_way(self, job: ActiveJob) -> int:
        """Digests that are reserved for the job's grant, with those of the job itself."""
        assert job.grant is not None
        return self._reserved_of[name_of(job.grant)] + job.digests


def _may_be_signed(job: ActiveJob) -> bool:
    """Whether lanes have signed digests of the job, or may have."""
    if is_unauthenticated(job.failure):
        return False
    return job.maybe_signed or job.dropped > 0 or any(signature is not None for signature in job.signatures)


def _counter(name: GrantName) -> UsagePeriod:
    tenant, issuer, grant_id = name
    return UsagePeriod(tenant, client_of(issuer, grant_id), 0, _KEPT_S)
