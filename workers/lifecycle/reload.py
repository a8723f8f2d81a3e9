"""Reload of the configuration at SIGHUP or ``sigmill tenants reload``: adopted or refused as a whole, and reported.

All changed files are read and checked (``workers/config/snapshots.py``). A tenant's file restarts no lane: each lane is told
to read its files again, and one that does not answer in time is killed and replaced: after 0.5 to 1 s where only tenants'
files changed, after 10 s where the service's file did, and always for the service key's lane. One that answers with a problem
continues with its former policy, and the report names it. Lanes of tokens retire that no tenant uses any more, or only a
suspended one. Only a changed ``[tokens.NAME]`` of the service's file replaces lanes, once they have finished their
chunks (``LaneRegistry.adopt`` in ``workers/lanes/supervisor/registry.py``). ``[redis]``, ``[worker]``, ``[log]``,
``[record]`` and ``[metrics]`` wait for a restart of the worker, except ``directory_ttl_s``, which lanes read from their own file.
The lane's part is ``workers/lanes/process/live_policy.py``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from msgspec.structs import replace

from queueing.aio.events import wait_for
from queueing.errors import ConfigError
from workers.config.settings import WorkerSettings
from workers.config.snapshots import refuse_other_place
from workers.state.running_workers import ReloadReport
from workers.telemetry.json_logs import set_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.config.loading import Configuration
    from workers.config.service_file import ServiceConfiguration
    from workers.config.snapshots import ConfigurationFiles
    from workers.current_config import CurrentConfig
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.state.running_workers import PidLock
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.config")

LANES_TIMEOUT_S: Final = 12.0
"""Longer than any lane is given: by then it has reloaded, or was ended."""

REMEMBER_AGAIN_S: Final = 5.0
"""Time between two tries to write an adopted copy or its event: short enough that a restart rarely meets a missing one."""

_AFTER_RESTART: Final = ("redis", "worker", "log", "record", "metrics")
_MOST_NAMED: Final = 20


class ConfigListener(Protocol):
    """Part of the service that acts on a reload; it reads the new configuration from ``CurrentConfig``."""

    def configuration_changed(self, changed: Sequence[str]) -> None:
        """The configuration was replaced; ``changed`` are the tenants that are new or changed. Must not block."""


class Reloader:
    """Reloads one at a time; requests during a reload cause one more."""

    def __init__(
        self,
        files: ConfigurationFiles,
        config: CurrentConfig,
        *,
        lanes: LaneRegistry,
        listeners: Sequence[ConfigListener],
        pid_lock: PidLock,
        metrics: Metrics,
    ) -> None:
        self._files = files
        self._config = config
        self._lanes = lanes
        self._listeners = listeners
        self._pid_lock = pid_lock
        self._metrics = metrics
        self._at_start = config.service
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Request a reload. Called on the event loop, on SIGHUP."""
        self._asked.set()

    async def run(self) -> None:
        """Reload on request, until cancelled."""
        while True:
            await self._next_request()
            self._asked.clear()
            report = await self._reload()
            self._metrics.config_reloads.labels(report.outcome).inc()
            try:
                self._pid_lock.report(report)
            except OSError as error:
                log.error("config.not_reported", extra={"why": str(error)})

    async def _next_request(self) -> None:
        """Wait for a request; meanwhile try to write the adopted copies, and their events, that the disk did not take."""
        while True:
            self._metrics.config_not_remembered.set(self._files.unremembered)
            if not self._files.unwritten:
                await self._asked.wait()
                return
            if await wait_for(self._asked, REMEMBER_AGAIN_S):
                return
            await asyncio.to_thread(self._files.remember_again)

    async def _reload(self) -> ReloadReport:
        started_ns = time.monotonic_ns()
        before = self._config.configuration
        try:
            reading = await asyncio.to_thread(self._files.read)
            new = reading.configuration
            refuse_other_place(new.service.file, new.service, before.service)
        except ConfigError as error:
            return self._refused(started_ns, error)
        except Exception as error:  # noqa: BLE001 - whatever a file holds, it does not end the worker
            problem = f"cannot be read ({type(error).__name__}: {error!s:.200})"
            refused = ConfigError(
                str(before.service.file), "", problem, "Report this, with the file that was changed last."
            )
            return self._refused(started_ns, refused, cause=error)
        gone = sorted(before.tenants.keys() - new.tenants.keys())
        waiting = tuple(t for t in _AFTER_RESTART if self._waits(t, new.service))
        await asyncio.to_thread(self._files.adopt, reading)  # before any lane starts from it
        changed = self._adopt(new)
        lanes = await self._lanes.wait_reloaded(LANES_TIMEOUT_S)
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

    def _refused(
        self, started_ns: int, error: ConfigError, *, cause: Exception | None = None
    ) -> ReloadReport:
        """Report of a configuration that is not adopted; ``cause``: an error that is none of the configuration's."""
        log.error("config.refused", extra={"why": str(error), "remedy": error.remedy}, exc_info=cause)
        before = self._config.configuration
        return ReloadReport(
            started_ns=started_ns,
            took_s=_since(started_ns),
            outcome="refused",
            epoch=before.service.epoch,
            tenants=len(before.tenants),
            problem=str(error),
            remedy=error.remedy,
        )

    def _waits(self, table: str, new: ServiceConfiguration) -> bool:
        """Whether this table of the service's file is another one than the worker was started with."""
        old_table, new_table = getattr(self._at_start, table), getattr(new, table)
        if isinstance(new_table, WorkerSettings):
            new_table = replace(new_table, directory_ttl_s=self._at_start.worker.directory_ttl_s)
        return bool(old_table != new_table)

    def _adopt(self, new: Configuration) -> list[str]:
        """Put the configuration in force everywhere, lanes before their listeners; the tenants that changed."""
        changed = self._config.adopt(new)
        set_levels(new.service.logging.level, jobs=new.service.logging.jobs)
        self._metrics.tenants.set(len(new.tenants))
        self._lanes.adopt(new)
        for listener in self._listeners:
            listener.configuration_changed(changed)
        return changed


def _since(started_ns: int) -> float:
    return (time.monotonic_ns() - started_ns) / 1e9
