"""Extending leases from a thread of its own: a busy event loop, or a slow callback on it, costs no lease.

The thread has a loop and a connection of its own. It keeps leases for as long as the worker's loop is seen to turn: a
loop that hangs for good lets them run out, and other workers sign the jobs.
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
    from collections.abc import Callable, Iterable

    from queueing.broker.claims import ClaimedJob
    from queueing.config.redis import RedisConfig
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.leases")

PER_LEASE: Final = 3
"""Extensions in the length of a lease: one may be lost, and another one be late."""

LOOP_PATIENCE_LEASES: Final = 4
"""After so many lengths of a lease without a turn the worker's loop is given up."""

RETRY_S: Final = 0.5

MOST_NAMED: Final = 20
"""Jobs in one line of the log."""


class LeaseKeeper:
    """Keeps what ``held`` lists; it is called by the keeper's thread and must only read.

    ``loop_seen_at``: when the worker's loop last turned, on the monotonic clock.
    """

    def __init__(
        self,
        config: RedisConfig,
        *,
        owner: str,
        lease_s: float,
        held: Callable[[], Iterable[ClaimedJob]],
        loop_seen_at: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._owner = owner
        self._lease_s = lease_s
        self._held = held
        self._loop_seen_at = loop_seen_at
        self._metrics = metrics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="leases", daemon=True)

    def start(self) -> None:
        """Extend until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Extend no more; does not wait for a round that is under way."""
        self._stop.set()

    def _main(self) -> None:
        """Waits outside of its loop: an executor for that is gone before this thread when the process ends at once."""
        redis = connect(self._config)
        claims = Claims(redis, owner=self._owner, lease_ms=int(self._lease_s * 1000))
        wait_s = every_s = self._lease_s / PER_LEASE
        with asyncio.Runner() as runner:
            while not self._stop.wait(wait_s):
                wait_s = every_s if runner.run(self._extend(claims)) else min(RETRY_S, every_s)
            runner.run(redis.aclose())

    async def _extend(self, claims: Claims) -> bool:
        """One round; False when Redis did not take it."""
        unseen_s = time.monotonic() - self._loop_seen_at()
        if unseen_s > LOOP_PATIENCE_LEASES * self._lease_s:
            log.error("lease.loop_hangs", extra={"unseen_s": round(unseen_s, 1)})
            return True
        held: dict[str, list[ClaimedJob]] = {}
        for job in self._held():
            held.setdefault(job.tenant, []).append(job)
        if not held:
            return True
        try:
            lost = await claims.extend(held)
        except QueueUnavailable as error:
            self._metrics.redis_errors.labels("extend").inc()
            log.warning("redis.failed", extra={"operation": "extend", "why": str(error)})
            return False
        self._metrics.lease_events.labels("extended").inc(sum(map(len, held.values())) - len(lost))
        self._metrics.lease_events.labels("lost").inc(len(lost))
        if lost:
            names = [name_of(job.job_id) for job in lost[:MOST_NAMED]]
            log.warning("lease.lost", extra={"jobs": len(lost), "job_ids": names})
        return True
