"""Start of a lane: its environment, its CPU, and its exit code."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from workers.config.settings import SelectSettings, TokenSettings
from workers.lanes.supervisor import spawn as launch
from workers.lanes.supervisor.spawn import LaneStream, _environment, cpu_for_lane

HANG_S = 60.0


class FakeProcess:
    """A child that ends by itself with ``code``, or when it is killed, or never: the kernel holds it."""

    def __init__(self, code: int | None = None, *, held: bool = False) -> None:
        self.returncode, self.killed, self._held = code, False, held
        self._ended = asyncio.Event()
        if code is not None:
            self._ended.set()

    def kill(self) -> None:
        self.killed = True
        if not self._held:
            self.returncode = -9
            self._ended.set()

    async def wait(self) -> int | None:
        await self._ended.wait()
        return self.returncode


class FakeWriter:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def connection_to(process: FakeProcess | None) -> LaneStream:
    given: Any = (None, FakeWriter(), process)
    return LaneStream(*given)


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "EXIT_GRACE_S", 0.0)
    monkeypatch.setattr(launch, "KILL_GRACE_S", 0.0)


async def test_a_lane_that_exits_by_itself_has_an_exit_code() -> None:
    """It is not killed."""
    process = FakeProcess(5)
    assert await connection_to(process).ended() == 5
    assert not process.killed


async def test_a_lane_that_does_not_end_is_killed(no_grace: None) -> None:
    """It is killed after the grace time."""
    process = FakeProcess()
    assert await connection_to(process).ended() == -9
    assert process.killed


async def test_a_lane_that_the_kernel_holds_has_ended_when_it_is_killed(no_grace: None) -> None:
    """Its jobs must not wait for a driver or a disk that may never come back."""
    process = FakeProcess(held=True)
    async with asyncio.timeout(HANG_S):
        assert await connection_to(process).ended() == -9
    assert process.killed


async def test_a_host_started_lane_has_no_exit_code() -> None:
    """Its connection is closed, and there is no exit code."""
    assert await connection_to(None).ended() is None


def test_a_lane_inherits_the_place_of_the_credentials_and_nothing_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its PIN file may be a credential of the worker's unit; the worker's own variables stay the worker's."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/sigmill-worker.service")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    settings = TokenSettings(
        module="/usr/lib/vendor.so",
        select=SelectSettings(label="acme"),
        login="none",
        environment={"VENDOR_CONF": "/etc/vendor.conf"},
    )
    environment = _environment(settings)
    assert environment["CREDENTIALS_DIRECTORY"] == "/run/credentials/sigmill-worker.service"
    assert environment["VENDOR_CONF"] == "/etc/vendor.conf"
    assert environment.keys() <= {
        "LANG", "LC_ALL", "TZ", "PATH", "CREDENTIALS_DIRECTORY", "VENDOR_CONF",
    }  # fmt: skip


def test_a_lane_for_each_cpu_has_each_on_its_own() -> None:
    """The first free CPU; a replaced lane gets the one of its predecessor."""
    assert cpu_for_lane(3, {4, 5, 6}, []) == 4
    assert cpu_for_lane(3, {4, 5, 6}, [4, 6]) == 5


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_with_fewer_or_more_lanes_than_cpus_the_kernel_decides(lanes: int) -> None:
    """A pinned lane could wait while another CPU is idle."""
    assert cpu_for_lane(lanes, {0, 1, 2}, []) is None


def test_a_single_cpu_needs_no_pinning() -> None:
    """With one CPU there is no choice."""
    assert cpu_for_lane(1, {0}, []) is None


def test_no_free_cpu_leaves_it_to_the_kernel() -> None:
    """A lane that ends may still be there when its successor starts."""
    assert cpu_for_lane(2, {0, 1}, [0, 1]) is None
