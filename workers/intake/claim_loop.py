"""Claim loop of a worker: claims jobs that its lanes can start soon.

Jobs of a slow tenant stay in Redis, where another worker can claim them. Idle, the loop waits for a doorbell; jobs of
stock arq producers, which ring none, are found by the slow poll.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.aio.events import wait_for
from queueing.errors import LogUnavailable, QueueUnavailable, QueueUnconfirmed

if TYPE_CHECKING:
    from queueing.broker.claims import ClaimRequest
    from workers.current_config import CurrentConfig
    from workers.intake.claim_planner import ClaimPlanner
    from workers.intake.claimer import Claimer
    from workers.intake.ready_tenants import ReadyTenants
    from workers.journal.journal import WriteAheadLog
    from workers.lifecycle.shutdown import ShutdownDeadline

log = logging.getLogger("sigmill.intake")

PACE_S: Final = 0.002
"""Shortest time between two claims of a busy worker; far below an idle digest's objective (5 ms)."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Pauses between attempts while Redis does not answer."""


class ClaimLoop:
    """Claims, paces, and waits out outages of Redis and of the log."""

    def __init__(
        self,
        config: CurrentConfig,
        *,
        ready: ReadyTenants,
        planner: ClaimPlanner,
        claimer: Claimer,
        wal: WriteAheadLog,
        shutdown: ShutdownDeadline,
    ) -> None:
        self._poll_every_s = config.service.worker.slow_poll_s
        self._ready = ready
        self._planner = planner
        self._claimer = claimer
        self._wal = wal
        self._shutdown = shutdown
        self._backoff = Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
        self._claimed_at = 0.0
        self._outage = False
        self._answered = not config.tenants  # without tenants nothing is claimed that could prove it

    @property
    def redis_answers(self) -> bool:
        """Whether Redis answered the last claim, and does not refuse all of them."""
        return self._answered and not self._ready.refusals.total

    async def run(self) -> None:
        """Claim until the worker is shut down. Outages of Redis and of the log are waited out, never raised."""
        while not self._shutdown.asked.is_set():
            self._ready.begin_round()
            next_poll_s = self._ready.poll(time.monotonic(), self._poll_every_s)
            requests = self._planner.plan()
            if requests and (not await self._claim(requests) or self._planner.plan()):
                continue  # at once: it failed, or there is more
            await self._sleep(next_poll_s)

    async def _claim(self, requests: list[ClaimRequest]) -> bool:
        """One attempt, and a pause if it fails; False when it has to be repeated."""
        await self._keep_pace()
        try:
            if self._wal.failing:
                await self._wal.probe()  # jobs that could not be signed are left to other workers
            await self._claimer.claim(requests)
        except QueueUnconfirmed as error:
            self._note_outage(error)  # the shards are held: the next round is of the others, or waits
            return True
        except (QueueUnavailable, LogUnavailable) as error:
            self._note_outage(error)
            self._ready.add(request.tenant for request in requests)
            await wait_for(self._shutdown.asked, self._backoff.next_s())
            return False
        self._answered, self._outage = True, False
        self._backoff.reset()
        return True

    async def _keep_pace(self) -> None:
        """Wait until ``PACE_S`` after the last claim: one claim of ten jobs costs little more than one of one."""
        wait_s = self._claimed_at + PACE_S - time.monotonic()
        if self._claimer.busy and wait_s > 0:
            await asyncio.sleep(wait_s)
        self._claimed_at = time.monotonic()

    async def _sleep(self, next_poll_s: float) -> None:
        now_s = time.monotonic()
        until_s = min(next_poll_s, self._planner.kept_back_until_s())
        await self._ready.changed_within(max(until_s - now_s, 0.001))

    def _note_outage(self, error: QueueUnavailable | QueueUnconfirmed | LogUnavailable) -> None:
        if isinstance(error, LogUnavailable):
            return  # the log reports it itself
        self._claimer.count_failure("replicate" if isinstance(error, QueueUnconfirmed) else "claim")
        if not self._outage:
            log.warning("claim.failed", extra={"why": str(error), "error": type(error).__name__})
        self._answered, self._outage = False, True
