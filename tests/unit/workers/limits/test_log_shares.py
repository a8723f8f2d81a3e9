"""Shares of the log's disk: the tenants that are paused, for how long, and what a restart remembers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes.configurations import configuration, tenant
from workers.config.loading import Configuration
from workers.config.settings import LogSettings
from workers.current_config import CurrentConfig
from workers.limits import log_shares
from workers.limits.log_shares import RESUME_AT, LogShares
from workers.state.log_usage import LogUsage, keep_usage, read_usage
from workers.telemetry.metrics import Metrics
from workers.telemetry.series_budget import SeriesBudget

GB = 10**9
DAY_S = 86400.0


class Host:
    """A worker's shares, with a clock and a disk of this test."""

    def __init__(
        self, state_dir: Path, *names: str, share: float = 0.5, suspended: tuple[str, ...] = ()
    ) -> None:
        tenants = [replace(tenant(name), suspended=name in suspended) for name in names]
        config = configuration(tenants, state_dir=state_dir)
        service = replace(config.service, log=LogSettings(tenant_share=share))
        self.now_s = 20_000 * DAY_S
        self.metrics = Metrics(CollectorRegistry())
        self.shares = LogShares(
            CurrentConfig(Configuration(service=service, tenants=config.tenants)),
            self.metrics,
            clock_s=lambda: self.now_s,
        )

    def used(self, name: str) -> float:
        """The metric."""
        return float(self.metrics.log_share_used_ratio.labels(name)._value.get())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, "acme", "globex")


def test_a_tenant_is_paused_when_its_records_of_the_day_exceed_what_is_free(host: Host) -> None:
    """With a share of one half the limit is what is free; the other tenant is not paused."""
    host.shares.log_written("acme", 10 * GB)
    host.shares.log_written("globex", GB)
    host.shares.judge(10 * GB)
    assert host.shares.paused == frozenset()
    host.shares.judge(10 * GB - 1)
    assert host.shares.paused == {"acme"}


def test_a_tenant_is_paused_between_two_looks_at_the_disk(host: Host) -> None:
    """Bytes that were written since the last one are not free any more. Before the first look no tenant is paused."""
    host.shares.log_written("acme", 4 * GB)
    assert host.shares.paused == frozenset()
    host.shares.judge(10 * GB)
    host.shares.log_written("acme", 3 * GB)
    assert host.shares.paused == frozenset()
    host.shares.log_written("acme", 1)
    assert host.shares.paused == {"acme"}


@pytest.mark.parametrize("share, most", [(0.5, 10 * GB), (0.2, 2.5 * GB), (0.9, 90 * GB)])
def test_the_share_is_a_part_of_what_is_free_without_the_tenant(
    tmp_path: Path, share: float, most: float
) -> None:
    """A fifth of 12.5 GB are 2.5 GB, and then 10 GB are free."""
    host = Host(tmp_path, "acme", "globex", share=share)
    host.shares.log_written("acme", int(most * 0.999))
    host.shares.judge(10 * GB)
    assert not host.shares.paused
    host.shares.log_written("acme", int(most * 0.002))
    host.shares.judge(10 * GB)
    assert host.shares.paused == {"acme"}


def test_tenants_together_leave_space_for_the_next_one(tmp_path: Path) -> None:
    """Nine that fill the disk at once leave a tenth of it."""
    names = [f"t{number}" for number in range(10)]
    host = Host(tmp_path, *names)
    free = 100 * GB
    while len(host.shares.paused) < 9:
        for name in set(names[:-1]) - host.shares.paused:
            host.shares.log_written(name, GB // 100)
            free -= GB // 100
        host.shares.judge(free)
    assert free == pytest.approx(10 * GB, rel=0.02)
    assert names[-1] not in host.shares.paused


@pytest.mark.parametrize(
    "workers, share, left", [(2, 1 / 3, 1 / 2), (3, 1 / 4, 1 / 2), (2, 1 / 2, 1 / 3), (3, 1 / 2, 1 / 4)]
)
def test_workers_that_have_one_disk_together_leave_space_by_their_number_and_share(
    tmp_path: Path, workers: int, share: float, left: float
) -> None:
    """A share of 1/(m + 1) for each of m workers is one half for the host; one half for each would leave 1/(m + 1)."""
    hosts = [Host(tmp_path / str(number), "acme", "globex", share=share) for number in range(workers)]
    free = 100 * GB
    while not all(host.shares.paused for host in hosts):
        for host in hosts:
            if not host.shares.paused:
                host.shares.log_written("acme", GB // 100)
                free -= GB // 100
        for host in hosts:
            host.shares.judge(free)
    assert free == pytest.approx(100 * GB * left, rel=0.02)


def test_the_next_day_begins_with_the_whole_share(host: Host) -> None:
    """A day is one of UTC: what was written before midnight pauses no tenant after it."""
    host.shares.log_written("acme", 10 * GB)
    host.shares.judge(GB)
    host.now_s += DAY_S - 1
    host.shares.judge(GB)
    assert host.shares.paused == {"acme"}
    host.now_s += 1
    host.shares.judge(GB)
    assert not host.shares.paused
    assert host.used("acme") == 0


def test_more_space_ends_a_pause_but_not_at_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A tenant continues well below its share: otherwise each removed segment would start and stop it."""
    caplog.set_level(logging.INFO, "sigmill.log")
    host.shares.log_written("acme", 9 * GB)
    host.shares.judge(8 * GB)
    host.shares.judge(9 * GB + 1)
    assert host.shares.paused == {"acme"}
    host.shares.judge(int(9 * GB / RESUME_AT) + 1)
    assert not host.shares.paused
    assert [line.msg for line in caplog.records] == ["log.share_used", "log.share_free"]


@pytest.mark.parametrize("names, suspended", [(("acme",), ()), (("acme", "globex"), ("globex",))])
def test_a_tenant_without_neighbours_may_fill_the_disk(
    tmp_path: Path, names: tuple[str, ...], suspended: tuple[str, ...]
) -> None:
    """A tenant that is alone, or whose neighbours are suspended, is not paused."""
    host = Host(tmp_path, *names, suspended=suspended)
    host.shares.log_written("acme", 10 * GB)
    host.shares.judge(1)
    host.shares.log_written("acme", GB)
    assert not host.shares.paused


def test_the_metric_is_the_used_part_of_a_tenants_share(host: Host) -> None:
    """It stays at zero for a tenant that has used less than a hundredth; bytes are counted for each."""
    host.shares.log_written("acme", 4 * GB)
    host.shares.log_written("globex", GB // 100)
    host.shares.judge(8 * GB)
    assert (host.used("acme"), host.used("globex")) == (0.5, 0)
    written = host.metrics.log_written_bytes
    assert written.labels("acme")._value.get() == 4 * GB
    assert written.labels("globex")._value.get() == GB // 100


def test_a_tenant_without_a_series_of_its_own_is_seen_too(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of tenants share the series `other`; the fullest share is what the alert needs."""
    monkeypatch.setattr(SeriesBudget, "take", lambda *_: False)
    host.shares.log_written("acme", 4 * GB)
    host.shares.log_written("globex", 2 * GB)
    host.shares.judge(8 * GB)
    assert host.used("other") == 0.5
    host.now_s += DAY_S
    host.shares.judge(8 * GB)
    assert host.used("other") == 0


def test_the_claim_loop_looks_again_while_a_paused_tenant_has_jobs(host: Host) -> None:
    """No doorbell rings when space is free again: the loop looks within a second."""
    host.shares.log_written("acme", 10 * GB)
    host.shares.judge(GB)
    assert host.shares.next_look_s(["globex"]) == float("inf")
    assert host.shares.next_look_s(["globex", "acme"]) <= time.monotonic() + log_shares.LOOK_S


def test_a_restart_remembers_what_was_written_on_this_day(tmp_path: Path) -> None:
    """What was written on another day pauses no tenant."""
    for day, paused in ((20_000, {"acme"}), (19_999, set[str]())):
        keep_usage(tmp_path, LogUsage(day=day, written={"acme": 10 * GB}))
        host = Host(tmp_path, "acme", "globex")
        host.shares.continue_from(read_usage(tmp_path))
        host.shares.judge(GB)
        assert host.shares.paused == paused


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x91" * 5000])
def test_a_damaged_file_of_the_day_is_none(tmp_path: Path, content: bytes) -> None:
    """It costs the memory of a day, not the worker."""
    (tmp_path / "log-usage").write_bytes(content)
    assert read_usage(tmp_path) is None


async def test_the_disk_is_asked_again_and_again_and_the_day_is_kept_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not answer pauses no tenant, and ends no pause."""
    host = Host(tmp_path, "acme", "globex")
    answers = iter([20 * GB, None, GB])
    asked = asyncio.Event()
    paused: list[frozenset[str]] = []

    def free_bytes(_: Path) -> int | None:
        paused.append(host.shares.paused)
        if len(paused) == 5:
            loop.call_soon_threadsafe(asked.set)
        return next(answers, None)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(log_shares, "_free_bytes", free_bytes)
    monkeypatch.setattr(log_shares, "LOOK_S", 0.0)
    host.shares.log_written("acme", 10 * GB)
    running = asyncio.ensure_future(host.shares.run())
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert paused[:5] == [frozenset()] * 3 + [{"acme"}] * 2
    assert read_usage(tmp_path) == LogUsage(day=20_000, written={"acme": 10 * GB})


async def test_a_day_that_cannot_be_kept_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker tries again each time, and logs the same error no more."""
    host = Host(tmp_path / "file" / "below", "acme", "globex")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(log_shares, "LOOK_S", 0.0)
    monkeypatch.setattr(log_shares, "KEEP_S", 0.0)
    tries, told, loop = itertools.count(1), asyncio.Event(), asyncio.get_running_loop()

    def keep(state_dir: Path, usage: LogUsage) -> None:
        if next(tries) == 3:
            loop.call_soon_threadsafe(told.set)
        keep_usage(state_dir, usage)

    monkeypatch.setattr(log_shares, "keep_usage", keep)
    running = asyncio.ensure_future(host.shares.run())
    await told.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line.msg for line in caplog.records] == ["log.usage_not_kept"]
