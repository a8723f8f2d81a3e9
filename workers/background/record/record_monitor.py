"""Metrics of the record, from what its sealer tells in a file, be it a child of this worker or not."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from workers.record.exchange import SealerStatus, read_status

if TYPE_CHECKING:
    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

INTERVAL_S: Final = 1.0


class RecordMonitor:
    """Shows the status of the sealer. The lag grows while no sealer runs, also if none ever ran."""

    def __init__(self, config: CurrentConfig, metrics: Metrics) -> None:
        self._state_dir = config.service.state_dir
        self._metrics = metrics
        self._began_ns = time.monotonic_ns()
        self._last: SealerStatus | None = None

    async def run(self) -> None:
        """Read the status every ``INTERVAL_S`` seconds, until cancelled."""
        while True:
            self.show(await asyncio.to_thread(read_status, self._state_dir), time.monotonic_ns())
            await asyncio.sleep(INTERVAL_S)

    def show(self, status: SealerStatus | None, now_ns: int) -> None:
        """Show this status. Counts of a restarted sealer begin at 0 again."""
        metrics = self._metrics
        if status is None:
            metrics.record_lag_seconds.set((now_ns - self._began_ns) / 1e9)
            return
        last = self._last
        same = last is not None and (last.pid, last.started_ns) == (status.pid, status.started_ns)
        before = last if same and last is not None else SealerStatus(pid=0, started_ns=0)
        metrics.record_lag_seconds.set(status.lag_s(now_ns))
        metrics.record_bytes.set(status.record_bytes)
        metrics.record_oldest_timestamp_seconds.set(status.oldest_ms / 1000)
        metrics.record_uncertified.set(status.uncertified)
        metrics.record_former.set(status.former)
        metrics.record_damage.set(len(status.damage))
        metrics.record_scrubbed_entries.inc(max(status.scrubbed - before.scrubbed, 0))
        metrics.record_checkpoints.inc(max(status.checkpoints - before.checkpoints, 0))
        for tenant, added in _added(status.entries, before.entries):
            metrics.record_entries.labels(tenant).inc(added)
        for reason, added in _added(status.failures, before.failures):
            metrics.record_failures.labels(reason).inc(added)
        self._last = status


def _added(now: dict[str, int], before: dict[str, int]) -> list[tuple[str, int]]:
    return sorted((Counter(now) - Counter(before)).items())
