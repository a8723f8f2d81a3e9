"""Guard of the log against forged envelopes: decides which envelopes the worker verifies itself, before their intents.

An intent holds the whole envelope, and is written before the lane has verified it: to verify each one twice would cost 0.15 ms of the
worker for each job. A forger, who can write to a tenant's queue and has no client key, gets into the log of a host at most
``UNPROVEN_BYTES`` beyond what clients of the tenant sign meanwhile, in envelopes of ``LARGEST_UNVERIFIED_BYTES``, until a lane
has refused the first one. From then on the worker verifies the tenant's envelopes for ten minutes after the last forgery, and each time
that one gets through afterwards for twice as long, up to a day: so often a forger begins again, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import EnvelopeAudience, EnvelopeSignature, GrantRefused
from workers.lanes.authorisation import is_unauthenticated
from workers.state.forged_envelopes import ForgedFor, keep_forged, read_forged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.active_job import ActiveJob

log = logging.getLogger("sigmill.release")

LARGEST_UNVERIFIED_BYTES: Final = 4096
"""About 110 digests of SHA-256. To verify a larger envelope costs less than 2 us for each of its digests."""

UNPROVEN_BYTES: Final = 256 * 1024
"""Envelopes that were let pass since a lane found the last good one. More than a claim brings of jobs with one digest."""

SHORTEST_S: Final = 600.0
LONGEST_S: Final = 86_400.0
"""Time for which envelopes are verified after a forged one, at first and at most; without one for a day more it is short again."""

KEEP_S: Final = 60.0
"""Time between two times that the guard's state is kept for the next start."""


@dataclass(slots=True)
class _Window:
    """Time for which envelopes are verified: its length, and its end (monotonic)."""

    window_s: float
    until_s: float


class ForgeryGuard:
    """Guard of one worker. To be used on one event loop."""

    def __init__(self, state_dir: Path, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._state_dir = state_dir
        self._now_s = now_s
        self._windows: dict[str, _Window] = {}
        self._unproven: dict[str, int] = {}
        self._kept: dict[str, ForgedFor] = {}
        self._why_not_kept = ""

    def must_verify(self, tenant: str, size_bytes: int) -> bool:
        """Whether the worker must verify an envelope of this tenant and size before its intent."""
        window = self._windows.get(tenant)
        return (
            size_bytes > LARGEST_UNVERIFIED_BYTES
            or self._unproven.get(tenant, 0) + size_bytes > UNPROVEN_BYTES
            or (window is not None and self._now_s() < window.until_s)
        )

    def passed(self, tenant: str, size_bytes: int) -> None:
        """An envelope is left to its lane."""
        self._unproven[tenant] = self._unproven.get(tenant, 0) + size_bytes

    def judged(self, job: ActiveJob) -> None:
        """A job has ended, by its lane or before: by what is said of its envelope."""
        failure = job.failure
        if failure is None:
            self._unproven.pop(job.claimed.tenant, None)
        elif not is_unauthenticated(failure):
            return
        elif job.intended or isinstance(failure, EnvelopeAudience | EnvelopeSignature | GrantRefused):
            self._forged(job.claimed.tenant)

    def _forged(self, tenant: str) -> None:
        now_s = self._now_s()
        window = self._windows.get(tenant)
        if window is None or now_s >= window.until_s + LONGEST_S:
            window = self._windows[tenant] = _Window(SHORTEST_S, 0.0)
        elif now_s >= window.until_s:
            window.window_s = min(2 * window.window_s, LONGEST_S)
        window.until_s = now_s + window.window_s

    async def run(self) -> None:
        """Continue from what a former process kept, and keep the guard's state once a minute, until cancelled."""
        self.continue_from(await asyncio.to_thread(read_forged, self._state_dir), time.time())
        try:
            while True:
                await asyncio.sleep(KEEP_S)
                await asyncio.to_thread(self._keep, self.state(time.time()))
        finally:
            self._keep(self.state(time.time()))

    def continue_from(self, kept: dict[str, ForgedFor], unix_s: float) -> None:
        """Take over windows of a former process, at this Unix time; none is longer than it was then, whatever the clock says."""
        now_s = self._now_s()
        for tenant, each in kept.items():
            window_s = min(each.window_s, LONGEST_S)
            left_s = min(each.until_s - unix_s, window_s)
            if left_s > -LONGEST_S:
                self._windows.setdefault(tenant, _Window(window_s, now_s + left_s))

    def state(self, unix_s: float) -> dict[str, ForgedFor]:
        """Windows that the next process has to know of, by this Unix time; those that are over for a day are dropped."""
        now_s = self._now_s()
        self._windows = {t: w for t, w in self._windows.items() if now_s < w.until_s + LONGEST_S}
        return {
            tenant: ForgedFor(window_s=each.window_s, until_s=round(unix_s + each.until_s - now_s))
            for tenant, each in self._windows.items()
        }

    def _keep(self, state: dict[str, ForgedFor]) -> None:
        if state == self._kept:
            return
        try:
            keep_forged(self._state_dir, state)
        except OSError as error:  # a restart costs the log one round of forged envelopes
            if self._why_not_kept != str(error):
                self._why_not_kept = str(error)
                log.warning("jobs.forgeries_not_kept", extra={"why": str(error)})
        else:
            self._kept, self._why_not_kept = state, ""
