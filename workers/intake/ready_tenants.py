"""Tenants that may have jobs in Redis, and the event that wakes the claim loop.

No doorbell is lost: a tenant stays here until a claim finds nothing and arms its doorbell in the same step. A doorbell
that rings while the claim's reply is on its way puts the tenant back.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from queueing.aio.events import wait_for
from workers.intake.poll_schedule import PollSchedule
from workers.intake.refusals import Refusals
from workers.intake.suspect_isolation import SuspectIsolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from queueing.aio.backoff import Randomness
    from workers.active_job import ActiveJob
    from workers.current_config import CurrentConfig

SHORTENED_BY_UP_TO: Final = 0.3
"""Part of the time between two polls by which each is shortened at random. Workers that polled in step, one shortly before the other,
would stay so: the first had each job that returned after a delay, also those that it can only return again."""


class ReadyTenants:
    """Tenants that may have jobs: told by doorbells, the slow poll, lanes, reloads and settled jobs; read by the claim loop."""

    def __init__(self, config: CurrentConfig, *, randomness: Randomness = random) -> None:
        self._config = config
        self._ready: dict[str, None] = {}  # oldest first: the planner serves the first ones, so none starves
        self._changed = asyncio.Event()
        self._schedule = PollSchedule()
        self._randomness = randomness
        self._next_poll_s = 0.0
        self.isolation = SuspectIsolation()
        self.refusals = Refusals(config)

    def ring(self, tenant: str) -> None:
        """A doorbell rang. Every client of this Redis can ring any tenant's: unknown ones are ignored."""
        if tenant in self._config.tenants:
            self.add([tenant])
            self._changed.set()

    def ring_all(self) -> None:
        """Doorbells may have been missed."""
        for tenant in self._config.tenants:
            self.ring(tenant)

    def configuration_changed(self, changed: Sequence[str]) -> None:
        """Wake for tenants that are new or changed: jobs that were kept back by the old limits may be due."""
        for tenant in changed:
            self.ring(tenant)

    def capacity_freed(self) -> None:
        """A lane can take digests again."""
        if self._ready:
            self._changed.set()

    def job_settled(self, job: ActiveJob) -> None:
        """The job was published or returned; a suspect that waited for it may be claimed now."""
        tenant = job.claimed.tenant
        waited = self.isolation.is_waiting(tenant)
        self.isolation.settled(tenant)
        if waited:
            self._changed.set()

    def wake(self) -> None:
        """Wake the claim loop; it finds out itself what changed."""
        self._changed.set()

    def begin_round(self) -> None:
        """Forget earlier wake-ups, before anything is looked at: changes during a claim wake the loop again."""
        self._changed.clear()

    async def changed_within(self, timeout_s: float) -> bool:
        """Whether something changes within ``timeout_s`` seconds; returns at once when it does."""
        return await wait_for(self._changed, timeout_s)

    def poll(self, now_s: float, every_s: float) -> float:
        """Add the tenants that are polled now, if a poll is due; the time of the next one (monotonic), at most ``every_s`` later."""
        if now_s >= self._next_poll_s:
            self.add(self._schedule.next(self._config.tenants))
            self._next_poll_s = now_s + every_s * (1 - SHORTENED_BY_UP_TO * self._randomness.random())
        return self._next_poll_s

    def poll_soon(self, tenant: str) -> None:
        """Include the tenant in the next polls: it had work, or its doorbell may not be armed."""
        self._schedule.had_work(tenant)

    def add(self, tenants: Iterable[str]) -> None:
        """Add tenants that may have jobs; does not wake the loop."""
        self._ready.update(dict.fromkeys(tenants))

    def remove(self, tenant: str) -> None:
        """The tenant is being claimed for: only a doorbell or the reply puts it back."""
        self._ready.pop(tenant, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ready)

    def claimable(self) -> Iterator[str]:
        """Tenants for which no suspect has to be finished first, oldest first."""
        return (tenant for tenant in self._ready if not self.isolation.is_waiting(tenant))
