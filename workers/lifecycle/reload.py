"""A reload: the files are read again as a whole, checked, and adopted or refused; then it is said how it went."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import ConfigError
from workers.lanes.process.live_policy import refuse_other_place
from workers.state.running_workers import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from workers.config.loading import Configuration
    from workers.config.snapshots import ConfigurationFiles
    from workers.state.running_workers import PidLock
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.config")

LANES_TIMEOUT_S: Final = 12.0
"""Longer than any lane is given: by then it has obeyed, or was ended."""

_AFTER_RESTART: Final = ("redis", "worker", "log", "metrics")
_MOST_NAMED: Final = 20


class Reloader:
    """Reloads one at a time; what is asked meanwhile is one more."""

    def __init__(
        self,
        files: ConfigurationFiles,
        *,
        current: Callable[[], Configuration],
        adopt: Callable[[Configuration], None],
        lanes_obey: Callable[[float], Coroutine[Any, Any, list[str]]],
        metrics: Metrics,
        mark: PidLock,
    ) -> None:
        self._files = files
        self._current = current
        self._adopt = adopt
        self._lanes_obey = lanes_obey
        self._metrics = metrics
        self._mark = mark
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """The files may have changed. Called by the loop, on SIGHUP."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            report = await self._reload()
            self._metrics.config_reloads.labels(report.outcome).inc()
            try:
                self._mark.report(report)
            except OSError as error:
                log.error("config.not_reported", extra={"why": str(error)})

    async def _reload(self) -> ReloadReport:
        started_ns = time.monotonic_ns()
        before = self._current()
        try:
            reading = await asyncio.to_thread(self._files.read)
            new = reading.configuration
            refuse_other_place(new.service.file, new.service, before.service)
        except ConfigError as error:
            log.error("config.refused", extra={"why": str(error), "remedy": error.remedy})
            return ReloadReport(
                started_ns=started_ns,
                took_s=_since(started_ns),
                outcome="refused",
                epoch=before.service.epoch,
                tenants=len(before.tenants),
                problem=str(error),
                remedy=error.remedy,
            )
        changed = [name for name, tenant in new.tenants.items() if tenant != before.tenants.get(name)]
        gone = sorted(before.tenants.keys() - new.tenants.keys())
        waiting = tuple(t for t in _AFTER_RESTART if getattr(new.service, t) != getattr(before.service, t))
        await asyncio.to_thread(self._files.adopt, reading)  # before any lane starts from it
        self._adopt(new)
        lanes = await self._lanes_obey(LANES_TIMEOUT_S)
        outcome = "adopted" if changed or gone or new.service != before.service else "unchanged"
        report = ReloadReport(
            started_ns=started_ns,
            took_s=_since(started_ns),
            outcome=outcome,
            epoch=new.service.epoch,
            tenants=len(new.tenants),
            changed=tuple(changed[:_MOST_NAMED]),
            gone=tuple(gone[:_MOST_NAMED]),
            waiting=waiting,
            lanes=tuple(lanes[:_MOST_NAMED]),
        )
        log.info("config.adopted", extra={"report": msgspec.to_builtins(report)})
        return report


def _since(started_ns: int) -> float:
    return (time.monotonic_ns() - started_ns) / 1e9
