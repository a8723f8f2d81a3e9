"""Reload: adopted by every part in order, or refused as a whole, and reported."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.errors import ConfigError
from tests.support.fakes.configurations import configuration, tenant
from workers.config.loading import Configuration
from workers.config.settings import WorkerSettings
from workers.config.snapshots import ConfigurationFiles
from workers.config.tenant_limits import TenantLimits
from workers.current_config import CurrentConfig
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle import reload as reload_module
from workers.lifecycle.reload import Reloader
from workers.state.running_workers import PidLock, ReloadReport
from workers.telemetry.metrics import Metrics

BEFORE = configuration([tenant("acme"), tenant("globex")])
AFTER = configuration([tenant("acme", limits=TenantLimits(weight=2.0)), tenant("initech")])


@dataclass
class Reading:
    configuration: Configuration


@dataclass
class Worker:
    """Files, lanes, listeners and the report of one reload; the events are in their order."""

    config: CurrentConfig = field(default_factory=lambda: CurrentConfig(BEFORE))
    files: Configuration | Exception = BEFORE
    events: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    reports: list[ReloadReport] = field(default_factory=list)
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    unremembered: int = 0
    unkept: int = 0
    all_written: threading.Event = field(default_factory=threading.Event)
    counted: list[float | None] = field(default_factory=list)

    @property
    def unwritten(self) -> bool:
        return bool(self.unremembered or self.unkept)

    def remember_again(self) -> None:
        self.counted.append(self.registry.get_sample_value("sigmill_config_not_remembered"))
        self.unremembered = max(self.unremembered - 1, 0)
        self.unkept = max(self.unkept - 1, 0)
        if not self.unwritten:
            self.all_written.set()

    def read(self) -> Reading:
        if isinstance(self.files, Exception):
            raise self.files
        return Reading(self.files)

    def adopt(self, adopted: Reading | Configuration) -> None:
        """The files, and then the lanes."""
        self.events.append("files" if isinstance(adopted, Reading) else "lanes")

    async def wait_reloaded(self, _: float) -> list[str]:
        self.events.append("lanes reloaded")
        return []

    def configuration_changed(self, changed: Sequence[str]) -> None:
        assert self.config.configuration is self.files, "listeners read the new configuration"
        self.events.append("listener")
        self.changed += changed

    def report(self, report: ReloadReport) -> None:
        self.reports.append(report)
        self.reported.set()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
async def reloader(worker: Worker) -> AsyncIterator[Reloader]:
    made = Reloader(
        cast("ConfigurationFiles", worker),
        worker.config,
        lanes=cast("LaneRegistry", worker),
        listeners=(worker,),
        pid_lock=cast("PidLock", worker),
        metrics=Metrics(worker.registry),
    )
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def reload(worker: Worker, reloader: Reloader, files: Configuration | Exception) -> ReloadReport:
    worker.files = files
    worker.reported.clear()
    reloader.ask()
    async with asyncio.timeout(10):
        await worker.reported.wait()
    return worker.reports[-1]


async def test_a_changed_configuration_is_adopted_by_every_part(worker: Worker, reloader: Reloader) -> None:
    """The files first, because lanes start from them; then the lanes, and then the parts that read it."""
    report = await reload(worker, reloader, AFTER)
    assert worker.events == ["files", "lanes", "listener", "lanes reloaded"]
    assert (report.outcome, report.changed, report.gone) == ("adopted", ("acme", "initech"), ("globex",))
    assert worker.changed == ["acme", "initech"]
    assert worker.config.configuration is AFTER
    assert worker.registry.get_sample_value("sigmill_tenants") == 2


async def test_a_mistake_changes_nothing(worker: Worker, reloader: Reloader) -> None:
    """The report says what is wrong, and how it is fixed."""
    report = await reload(worker, reloader, ConfigError("sigmill.toml", "redis.host", "bad", "fix it"))
    assert (report.outcome, report.problem, report.remedy) == (
        "refused",
        "sigmill.toml: redis.host: bad",
        "fix it",
    )
    assert worker.events == []
    assert worker.config.configuration is BEFORE


async def test_a_file_that_breaks_its_reader_changes_nothing_and_ends_nothing(
    worker: Worker, reloader: Reloader
) -> None:
    """The error of a library is reported as a mistake in the files; the next reload is done."""
    report = await reload(worker, reloader, ValueError("error parsing asn1 value"))
    assert (report.outcome, report.tenants) == ("refused", 2)
    assert "ValueError: error parsing asn1 value" in report.problem
    assert worker.events == []
    assert (await reload(worker, reloader, AFTER)).outcome == "adopted"


async def test_files_that_did_not_change_are_reported_so(worker: Worker, reloader: Reloader) -> None:
    """Lanes read their own files again all the same."""
    report = await reload(worker, reloader, configuration([tenant("acme"), tenant("globex")]))
    assert (report.outcome, report.changed) == ("unchanged", ())
    assert "lanes reloaded" in worker.events


async def test_copies_that_the_disk_did_not_take_are_tried_again(
    worker: Worker, reloader: Reloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a request, until they are written; the metric has their number."""
    monkeypatch.setattr(reload_module, "REMEMBER_AGAIN_S", 0.0)
    worker.unremembered = 2
    await reload(worker, reloader, AFTER)
    assert await asyncio.to_thread(worker.all_written.wait, 10)
    await reload(worker, reloader, AFTER)
    assert worker.counted == [2, 1]
    assert worker.registry.get_sample_value("sigmill_config_not_remembered") == 0


async def test_an_event_that_the_disk_did_not_take_is_tried_again(
    worker: Worker, reloader: Reloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it took all copies."""
    monkeypatch.setattr(reload_module, "REMEMBER_AGAIN_S", 0.0)
    worker.unkept = 2
    await reload(worker, reloader, AFTER)
    assert await asyncio.to_thread(worker.all_written.wait, 10)
    assert worker.counted == [0, 0]


def with_worker(settings: WorkerSettings) -> Configuration:
    """The first configuration, with another [worker]."""
    return configuration([tenant("acme"), tenant("globex")], worker=settings)


async def test_a_table_that_waits_for_a_restart_is_reported_until_then(
    worker: Worker, reloader: Reloader
) -> None:
    """Also by later reloads, which do not change it again; not once it is as it was at the start."""
    changed = with_worker(WorkerSettings(drain_s=5.0))
    assert (await reload(worker, reloader, changed)).waiting == ("worker",)
    assert (await reload(worker, reloader, changed)).waiting == ("worker",)
    assert (await reload(worker, reloader, BEFORE)).waiting == ()


async def test_the_time_to_live_of_directories_waits_for_no_restart(
    worker: Worker, reloader: Reloader
) -> None:
    """Lanes bound directories by their own reading of the file."""
    report = await reload(worker, reloader, with_worker(WorkerSettings(directory_ttl_s=60.0)))
    assert (report.outcome, report.waiting) == ("adopted", ())
