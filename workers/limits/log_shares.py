"""Shares of the write-ahead log's disk: a tenant that fills it is paused, and its neighbours are not.

On each day of UTC a tenant's records may take a part (``[log] tenant_share``) of the space that is free without them. With a half
that is as much as is free beside them: one tenant can halve the free space in a day, k at once leave one part of k + 1, and k one
after the other halve it k times. A tenant above its share is paused on this worker: its jobs stay in
Redis, where a worker with space claims them, and those that were claimed are finished. It continues on the next day, or when there
is more space (removed segments, a larger disk). On a host with one tenant no neighbour is to be protected, and none is paused.

Bytes are counted as they become durable. The disk is asked once a second, and in between its free space is known by what was
written; a claim costs one look into a set.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from typing import TYPE_CHECKING, Final

from workers.state.log_usage import LogUsage, keep_usage, read_usage
from workers.telemetry.series_budget import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.log")

LOOK_S: Final = 1.0
"""Time between two looks at the disk."""

KEEP_S: Final = 60.0
"""Time between two times that the day's bytes are kept; a killed worker forgets those of the last one."""

RESUME_AT: Final = 0.9
"""A paused tenant continues below this part of its share: otherwise each removed segment would start and stop it."""

_LEAST_SHOWN: Final = 0.01
_DAY_S: Final = 86400


class LogShares:
    """Bytes of each tenant on this day, and the tenants that are paused for theirs. To be used on one event loop."""

    def __init__(
        self, config: CurrentConfig, metrics: Metrics, *, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._of_free = _of_free(config.service.log.tenant_share)
        self._config = config
        self._metrics = metrics
        self._state_dir = config.service.state_dir
        self._clock_s = clock_s
        self._day = self._today()
        self._written: dict[str, int] = {}
        self._free_bytes = math.inf
        self._shown: set[str] = set()
        self._kept: LogUsage | None = None
        self._why_not_kept = ""
        self.paused: frozenset[str] = frozenset()

    def log_written(self, tenant: str, size_bytes: int) -> None:
        """Records of this tenant are durable in the log."""
        written = self._written[tenant] = self._written.get(tenant, 0) + size_bytes
        self._free_bytes -= size_bytes
        self._metrics.log_written(tenant, size_bytes)
        if written > self._share_bytes and tenant not in self.paused and self._has_neighbours():
            self._set_paused(self.paused | {tenant})

    def next_look_s(self, tenants: Iterable[str]) -> float:
        """Time (monotonic) at which a paused tenant of these may be free again; infinite where none is paused."""
        if self.paused and not self.paused.isdisjoint(tenants):
            return time.monotonic() + LOOK_S
        return float("inf")

    async def run(self) -> None:
        """Look at the disk of the log once a second, and keep the day's bytes once a minute, until cancelled."""
        folder = self._state_dir / "wal"
        self.continue_from(await asyncio.to_thread(read_usage, self._state_dir))
        try:
            keep_at_s = time.monotonic() + KEEP_S
            while True:
                free_bytes = await asyncio.to_thread(_free_bytes, folder)
                if free_bytes is not None:
                    self.judge(free_bytes)
                if time.monotonic() >= keep_at_s:
                    await asyncio.to_thread(self._keep, self._usage())
                    keep_at_s = time.monotonic() + KEEP_S
                await asyncio.sleep(LOOK_S)
        finally:
            self._keep(self._usage())

    def continue_from(self, usage: LogUsage | None) -> None:
        """Add what a former process counted on this day."""
        if usage is not None and usage.day == self._day:
            for tenant, size_bytes in usage.written.items():
                self._written[tenant] = self._written.get(tenant, 0) + size_bytes

    def judge(self, free_bytes: int) -> None:
        """Pause the tenants that have taken their share, and let those continue that have space again. O(tenants of the day)."""
        self._begin_day()
        self._free_bytes = free_bytes
        used = {tenant: written / self._share_bytes for tenant, written in self._written.items()}
        self._show(used)
        above = (t for t, part in used.items() if part > (RESUME_AT if t in self.paused else 1.0))
        self._set_paused(frozenset(above) if self._has_neighbours() else frozenset())

    @property
    def _share_bytes(self) -> float:
        """Bytes that any one tenant may have written today, where so much is free beside them."""
        return max(self._free_bytes * self._of_free, 1.0)

    def _set_paused(self, paused: frozenset[str]) -> None:
        before, self.paused = self.paused, paused
        for tenant in sorted(paused - before):
            extra = {
                "tenant": tenant,
                "written_bytes": self._written[tenant],
                "free_bytes": max(int(self._free_bytes), 0),
            }
            log.error("log.share_used", extra=extra)
        for tenant in sorted(before - paused):
            log.info("log.share_free", extra={"tenant": tenant})

    def _usage(self) -> LogUsage:
        return LogUsage(day=self._day, written=dict(self._written))

    def _keep(self, usage: LogUsage) -> None:
        """Keep the day's bytes for the next start; an error of the disk is logged once. Blocks for some milliseconds."""
        if usage == self._kept:
            return
        try:
            keep_usage(self._state_dir, usage)
        except OSError as error:
            if self._why_not_kept != str(error):
                self._why_not_kept = str(error)
                log.warning("log.usage_not_kept", extra={"why": str(error)})
        else:
            self._kept, self._why_not_kept = usage, ""

    def _has_neighbours(self) -> bool:
        return sum(not tenant.suspended for tenant in self._config.tenants.values()) > 1

    def _begin_day(self) -> None:
        today = self._today()
        if today != self._day:
            self._day = today
            self._written.clear()

    def _show(self, used: dict[str, float]) -> None:
        """Set the metric of tenants that have taken a noticeable part, and of those that had on this day or the last one."""
        gauge = self._metrics.log_share_used_ratio
        shown = {t for t, part in used.items() if part >= _LEAST_SHOWN} | self._shown
        together = 0.0
        for tenant in shown:
            own = gauge.own(tenant)
            if own is None:
                together = max(together, used.get(tenant, 0.0))
            else:
                own.set(used.get(tenant, 0.0))
        if any(gauge.own(tenant) is None for tenant in shown):
            gauge.labels(OTHER).set(together)
        self._shown = shown & used.keys()

    def _today(self) -> int:
        return int(self._clock_s() // _DAY_S)


def used_shares(usage: LogUsage, tenant_share: float, folder: Path, now_s: float) -> dict[str, float]:
    """Part of its share that each tenant has used by what was kept last; none of another day, or of a disk that does not answer."""
    free_bytes = _free_bytes(folder)
    if free_bytes is None or usage.day != int(now_s // _DAY_S):
        return {}
    share_bytes = max(free_bytes * _of_free(tenant_share), 1.0)
    return {tenant: written / share_bytes for tenant, written in usage.written.items()}


def _of_free(tenant_share: float) -> float:
    """The share of a tenant, as a part of what is free beside its records."""
    return tenant_share / (1 - tenant_share)


def _free_bytes(folder: Path) -> int | None:
    """Space of this file system that the worker may use; None where it cannot be asked now."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
