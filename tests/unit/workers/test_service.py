"""Steps in which a service starts and ends, in their order, with parts that note what they are told."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queueing.broker import doorbell
from queueing.errors import LogUnavailable, QueueUnavailable
from tests.support.waiting import turn
from workers import service as module
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.service import ServiceParts, SigningService


class NotedPart:
    """Part that notes each call as ``part.method``, and answers None."""

    def __init__(self, name: str, calls: list[str], *, tasks: tuple[str, ...] = ()) -> None:
        self._name, self._calls, self._tasks = name, calls, tasks

    def __getattr__(self, method: str) -> Any:
        def call(*_: object, **__: object) -> None:
            self._calls.append(f"{self._name}.{method}")

        async def task(*_: object) -> None:
            call()

        return task if method in self._tasks else call


class Log(NotedPart):
    """Write-ahead log; ``hangs``: its disk does not answer; ``error``: what its disk answers."""

    hangs = False
    error: Exception | None = None

    async def close(self) -> None:
        self._calls.append("wal.close")
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


class Jobs:
    """Jobs of the worker; ``stuck``: they are in an HSM that does not answer."""

    stuck = False

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    async def until_empty(self, _: float) -> bool:
        self._calls.append("jobs.until_empty")
        return not self.stuck

    def tenants(self) -> set[str]:
        return set()

    def __len__(self) -> int:
        return int(self.stuck)


class Budgets:
    """Budgets of keys; ``away``: Redis does not answer."""

    away = False

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    async def return_unused(self) -> None:
        self._calls.append("budgets.return_unused")
        if self.away:
            raise QueueUnavailable


class ClaimLoop:
    """Claim loop, which ends with the shutdown."""

    def __init__(self, calls: list[str], shutdown: ShutdownDeadline) -> None:
        self._calls, self._shutdown = calls, shutdown

    async def run(self) -> None:
        self._calls.append("claim_loop.run")
        await self._shutdown.asked.wait()
        self._calls.append("claim_loop.ended")


class FakeReadiness:
    """Readiness of a worker whose other conditions do not hold."""

    started = ready = False

    def __init__(self, shutdown: ShutdownDeadline) -> None:
        self._shutdown = shutdown

    @property
    def draining(self) -> bool:
        return self._shutdown.asked.is_set()


class ServiceSetup:
    """A service of noted parts."""

    def __init__(self, *, drain_s: float = 20.0) -> None:
        self.calls: list[str] = []
        self.shutdown = ShutdownDeadline(drain_s, clock_s=lambda: 0.0)
        self.jobs, self.budgets = Jobs(self.calls), Budgets(self.calls)
        self.log = Log("wal", self.calls)
        self.pid_lock: Any = self.part("pid_lock")
        parts = SimpleNamespace(
            config=SimpleNamespace(tenants={}),
            owner="w1",
            doorbells=None,
            metrics=SimpleNamespace(ready=self.part("metric"), grants_uncounted=self.part("metric")),
            heartbeat=self.part("heartbeat"),
            shutdown=self.shutdown,
            readiness=FakeReadiness(self.shutdown),
            state=self.part("state"),
            pid_lock=self.pid_lock,
            wal=self.log,
            jobs=self.jobs,
            ready_tenants=self.part("ready_tenants"),
            claim_loop=ClaimLoop(self.calls, self.shutdown),
            lanes=self.part("lanes", "close"),
            publisher=self.part("publisher"),
            leases=self.part("leases"),
            budgets=self.budgets,
            grants=self.part("grants", "recover", "share"),
            stop_orders=self.part("stop_orders"),
            refused_pins=self.part("refused_pins", "sync_at_start"),
            registration=self.part("registration", "remove"),
            sealer=self.part("sealer", "close"),
            heads=self.part("heads", "close"),
            background=(),
        )
        self.service = SigningService(cast("ServiceParts", parts))

    def part(self, name: str, *tasks: str) -> NotedPart:
        return NotedPart(name, self.calls, tasks=tasks)

    def steps(self, *names: str) -> list[str]:
        """These of the calls, in their order."""
        return [call for call in self.calls if call in names]

    async def run_and_drain(self) -> None:
        """Run until the claim loop claims, then shut down until the end."""
        running = asyncio.create_task(self.service.run())
        await turn()
        assert "claim_loop.run" in self.calls
        self.service.drain()
        await running


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No log to recover, and no doorbell rings."""

    async def recover(*_: object, **__: object) -> list[str]:
        return []

    async def listen(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "recover_journal", recover)
    monkeypatch.setattr(doorbell, "listen", listen)


def test_a_service_owns_its_state_directory_before_it_reads_the_stop_orders_there() -> None:
    """Else it would apply the orders in another process's directory."""
    setup = ServiceSetup()
    setup.service.open()
    assert setup.calls == ["state.own", "stop_orders.start"]


async def test_nothing_is_claimed_before_the_log_is_recovered_and_refused_pins_are_known() -> None:
    """A job of the former process could be signed twice, and a PIN tried twice."""
    setup = ServiceSetup()
    await setup.run_and_drain()
    order = [
        "publisher.add_recovered",
        "grants.recover",
        "refused_pins.sync_at_start",
        "lanes.start",
        "claim_loop.run",
    ]
    assert setup.steps(*order) == order


async def test_a_shutdown_finishes_the_jobs_before_it_closes_the_lanes_and_then_the_log() -> None:
    """Claims end first; leases are extended until no lane is left; the log takes outcomes until it is closed."""
    setup = ServiceSetup()
    await setup.run_and_drain()
    order = [
        "claim_loop.ended", "jobs.until_empty", "budgets.return_unused", "registration.remove", "lanes.close",
        "leases.stop", "wal.close", "pid_lock.remove", "state.release",
    ]  # fmt: skip
    assert setup.steps(*order, "lanes.kill") == order


async def test_a_shutdown_publishes_the_heads_of_what_the_sealer_has_sealed_last() -> None:
    """While the state directory is this process's own: no one can have copied it in between."""
    setup = ServiceSetup()
    await setup.run_and_drain()
    order = ["wal.close", "sealer.close", "heads.close", "state.release"]
    assert setup.steps(*order) == order


async def test_jobs_that_an_hsm_does_not_finish_in_time_are_returned_by_killing_its_lanes() -> None:
    """The jobs of killed lanes are requeued as perhaps signed, within the deadline."""
    setup = ServiceSetup()
    setup.jobs.stuck = True
    await setup.run_and_drain()
    order = ["jobs.until_empty", "lanes.kill", "jobs.until_empty", "lanes.close"]
    assert setup.steps(*order) == order


async def test_a_service_that_is_stopped_during_the_recovery_claims_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log is perhaps not recovered; the state directory is released all the same."""
    setup = ServiceSetup()

    async def stopped(*_: object, **__: object) -> list[str]:
        setup.service.drain()
        return []

    monkeypatch.setattr(module, "recover_journal", stopped)
    await setup.service.run()
    assert setup.steps("lanes.start", "claim_loop.run", "leases.start") == []
    assert setup.steps("wal.close", "state.release") == ["wal.close", "state.release"]


async def test_a_redis_that_is_away_does_not_keep_a_service_from_its_end() -> None:
    """Its budgets are lost for their period; lanes, log and state directory are closed."""
    setup = ServiceSetup()
    setup.budgets.away = True
    await setup.run_and_drain()
    assert setup.steps("registration.remove", "lanes.close", "wal.close", "state.release") == [
        "lanes.close", "wal.close", "state.release",
    ]  # fmt: skip


async def test_a_disk_that_does_not_close_the_log_is_left_when_the_time_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log is recovered at the next start."""
    setup = ServiceSetup(drain_s=0.0)
    setup.log.hangs = True
    await setup.run_and_drain()
    assert "log.not_closed" in caplog.messages
    assert setup.steps("state.release") == ["state.release"]


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), LogUnavailable("the disk is full")], ids=["EIO", "full"]
)
async def test_an_error_of_the_log_at_its_close_leaves_out_no_other_step(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the sealer would be killed in its work, and the state directory stay locked until the process ends."""
    setup = ServiceSetup()
    setup.log.error = error
    with caplog.at_level(logging.INFO):
        await setup.run_and_drain()
    closing = (
        "wal.close",
        "sealer.close",
        "heads.close",
        "pid_lock.remove",
        "state.release",
        "heartbeat.stop",
    )
    assert setup.steps(*closing) == list(closing)
    (record,) = [record for record in caplog.records if record.getMessage() == "log.not_closed"]
    assert record.__dict__["why"] == str(error)
    assert "service.stopped" in caplog.messages


async def test_a_service_without_a_file_of_its_process_id_serves(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `sigmill tenants reload` does not find it."""
    setup = ServiceSetup()

    def full() -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(setup.pid_lock, "set", full, raising=False)
    with caplog.at_level(logging.INFO):
        await setup.run_and_drain()
    assert "service.not_marked" in caplog.messages
    assert "service.started" in caplog.messages
