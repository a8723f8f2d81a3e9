"""Lease extension in a thread: a busy event loop, or a slow callback on it, loses no lease.

Three times per lease the thread extends the leases of all active jobs (``Claims.extend`` in ``queueing/broker/claims.py``,
by ``queueing/redis/lua/extend.lua``), with a loop and a connection of its own. It does so while the worker's loop is alive:
when that hangs permanently the leases run out, and other workers sign the jobs. A lost lease is only logged and counted here,
once two rounds have found it: a job that was committed while the first one was under way has no lease either, and has lost none.
A job whose lease is lost continues, and its commit is then fenced (``CommitStatus.FENCED``), so that its result is never published.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import Claims
from queueing.errors import QueueUnavailable
from queueing.redis.connection import connect
from workers.telemetry.job_log import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.broker.claims import ClaimedJob
    from queueing.config.redis import RedisConfig
    from workers.active_jobs import ActiveJobs
    from workers.lifecycle.heartbeat import Heartbeat
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.leases")

PER_LEASE: Final = 3
"""Extensions per length of a lease: one may be lost, and another one be late."""

LOOP_PATIENCE_LEASES: Final = 4
"""A worker's loop without a heartbeat for so many lengths of a lease is taken for dead."""

RETRY_S: Final = 0.5

_ROUNDS: Final = 2
"""Rounds that must miss a lease before it counts as lost, which it does once."""

MOST_NAMED: Final = 20
"""Jobs in one line of the log."""


class LeaseKeeper:
    """Extends the leases of ``jobs`` while ``heartbeat`` beats; the thread only reads both."""

    def __init__(
        self,
        config: RedisConfig,
        *,
        owner: str,
        lease_s: float,
        jobs: ActiveJobs,
        heartbeat: Heartbeat,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._owner = owner
        self._lease_s = lease_s
        self._jobs = jobs
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._missed: dict[tuple[bytes, bytes], int] = {}
        """Rounds in a row that did not find a lease of a job in hand, by job id and lease."""

        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="leases", daemon=True)

    def start(self) -> None:
        """Extend until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Stop extending; does not wait for a round that is under way."""
        self._stop.set()

    def _main(self) -> None:
        """Wait outside of the loop: at exit the interpreter stops a loop's executor before it stops this thread."""
        redis = connect(self._config)
        claims = Claims(redis, owner=self._owner, lease_ms=int(self._lease_s * 1000))
        wait_s = every_s = self._lease_s / PER_LEASE
        with asyncio.Runner() as runner:
            while not self._stop.wait(wait_s):
                wait_s = every_s if runner.run(self._extend(claims)) else min(RETRY_S, every_s)
            runner.run(redis.aclose())

    async def _extend(self, claims: Claims) -> bool:
        """One round; False when Redis did not answer."""
        unseen_s = time.monotonic() - self._heartbeat.seen_at
        if unseen_s > LOOP_PATIENCE_LEASES * self._lease_s:
            log.error("lease.loop_hangs", extra={"unseen_s": round(unseen_s, 1)})
            return True
        leased: dict[str, list[ClaimedJob]] = {}
        for job in self._jobs.claimed():
            leased.setdefault(job.tenant, []).append(job)
        if not leased:
            return True
        try:
            missing = await claims.extend(leased)
        except QueueUnavailable as error:
            self._metrics.redis_errors.labels("extend").inc()
            log.warning("redis.failed", extra={"operation": "extend", "why": str(error)})
            return False
        self._metrics.lease_events.labels("extended").inc(sum(map(len, leased.values())) - len(missing))
        self._report_lost(missing)
        return True

    def _report_lost(self, missing: Sequence[ClaimedJob]) -> None:
        in_hand = {(job.job_id, job.lease) for job in self._jobs.claimed()}
        places = [(job.job_id, job.lease) for job in missing]
        self._missed = {place: self._missed.get(place, 0) + 1 for place in places if place in in_hand}
        lost = [place for place, rounds in self._missed.items() if rounds == _ROUNDS]
        if lost:
            self._metrics.lease_events.labels("lost").inc(len(lost))
            names = [name_of(job_id) for job_id, _ in lost[:MOST_NAMED]]
            log.warning("lease.lost", extra={"jobs": len(lost), "job_ids": names})
