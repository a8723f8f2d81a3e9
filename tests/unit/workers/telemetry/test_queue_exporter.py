"""The exporter: what a survey found, as gauges with a bounded number of names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from queueing.broker.queue_stats import QueueState, RedisState
from queueing.errors import QueueUnavailable
from tests.support.config_files import Site, tenant_text
from workers.config.loading import load_configuration
from workers.telemetry import queue_exporter as module
from workers.telemetry.metrics_catalogue import QueueMetrics
from workers.telemetry.queue_exporter import QueueExporter


class Desk:
    """An exporter whose surveys are as ``states`` says; None: Redis does not answer."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, tenants: int, limits: str) -> None:
        texts = {f"t{i}": tenant_text(f"t{i}") + limits for i in range(tenants)}
        site = Site(folder)
        blocks = "".join(
            f'\n[tokens.{name}]\nmodule = "/m.so"\nselect = {{ label = "{name}" }}\nlogin = "none"\n'
            for name in texts
        )
        site.service, site.tenants = site.service + blocks, texts
        self.site = site.write()
        self.registry = CollectorRegistry()
        self.states: dict[str, QueueState] | None = {}
        self.run_id = "a"
        monkeypatch.setattr(module, "read_queue_stats", self._survey)
        monkeypatch.setattr(module, "redis_state", self._redis_state)
        redis: Any = None
        self.exporter = QueueExporter(
            load_configuration(self.site.config), redis=redis, metrics=QueueMetrics(self.registry)
        )

    async def _redis_state(self, redis: object) -> RedisState:
        if self.states is None:
            raise QueueUnavailable
        return RedisState(memory_used_bytes=5, memory_limit_bytes=10, run_id=self.run_id)

    async def _survey(self, redis: object, tenants: list[str]) -> dict[str, QueueState]:
        assert self.states is not None
        return {name: self.states.get(name, QueueState()) for name in tenants}

    async def look(self, **states: QueueState) -> None:
        self.states = states
        await self.exporter.look()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"sigmill_{name}", labels)


@pytest.fixture
def make_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda tenants=2, limits="": Desk(tmp_path, monkeypatch, tenants, limits)


async def test_a_tenant_with_a_backlog_has_its_gauges_and_an_idle_one_has_none(make_desk: Any) -> None:
    """Nor does one that was busy before."""
    desk = make_desk()
    await desk.look(t0=QueueState(ready=3, leased=2, digests=70, age_s=9.5))
    assert desk.value("queue_jobs", tenant="t0", state="ready") == 3
    assert desk.value("queue_jobs", tenant="t0", state="leased") == 2
    assert desk.value("backlog_digests", tenant="t0") == 70
    assert desk.value("backlog_age_seconds", tenant="t0") == 9.5
    assert desk.value("backlog_room_digests", tenant="t0") == 2_000_000 - 70
    assert desk.value("backlog_digests", tenant="t1") is None
    await desk.look()
    assert desk.value("backlog_digests", tenant="t0") is None


async def test_of_many_busy_tenants_the_oldest_have_names(make_desk: Any) -> None:
    """The rest is summed up, and of its ages the greatest shows; nothing is lost, and the series are bounded."""
    desk = make_desk(tenants=300, limits="\n[limits]\ndigests_per_day = 5\n")
    busy = {
        f"t{i}": QueueState(ready=1, digests=10, age_s=float(i), dead=1, accepted_digests=1)
        for i in range(300)
    }
    await desk.look(**busy)
    await desk.look(
        **{
            name: QueueState(accepted_digests=9, refused=3, age_s=s.age_s, digests=10)
            for name, s in busy.items()
        }
    )
    await desk.look(**busy)
    assert desk.value("backlog_age_seconds", tenant="t299") == 299
    assert desk.value("backlog_age_seconds", tenant="t0") is None
    assert desk.value("backlog_age_seconds", tenant="other") == 199
    assert desk.value("backlog_digests", tenant="other") == 2000
    assert desk.value("dead_letters", tenant="other") == 200
    lines = generate_latest(desk.registry).decode().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) < 2000


async def test_what_was_accepted_and_refused_counts_from_the_first_survey_on(make_desk: Any) -> None:
    """Redis' counters go on over restarts of the exporter, and begin anew where somebody removed them."""
    desk = make_desk()
    for accepted, refused in ((100, 5), (130, 6), (10, 0), (15, 0)):
        await desk.look(t0=QueueState(accepted_digests=accepted, refused=refused))
    assert desk.value("submitted_digests_total", tenant="t0") == 35
    assert desk.value("submits_refused_total", tenant="t0") == 1


async def test_a_budget_shows_what_is_left(make_desk: Any) -> None:
    """Also of a tenant that has no backlog now."""
    desk = make_desk(limits="\n[limits]\ndigests_per_day = 50\n")
    await desk.look(t0=QueueState(spent=20), t1=QueueState(spent=60))
    assert desk.value("budget_left_digests", tenant="t0") == 30
    assert desk.value("budget_left_digests", tenant="t1") == 0


@pytest.mark.parametrize(
    "caps, astray",
    [
        (None, None),
        ((2_000_000, 512 * 1024 * 1024, 0), None),
        ((0, 0, 0), None),
        ((2_000_000, 512 * 1024 * 1024, 7), 1),
        ((5, 512 * 1024 * 1024, 0), 1),
    ],
)
async def test_caps_that_refuse_what_the_configuration_allows_are_astray(
    make_desk: Any, caps: tuple[int, int, int] | None, astray: float | None
) -> None:
    """Looser ones are not: the claim enforces the configured ones anyway."""
    desk = make_desk()
    await desk.look(t0=QueueState(caps=caps))
    assert desk.value("limits_astray", tenant="t0") == astray


async def test_a_redis_that_is_another_process_was_restarted(make_desk: Any) -> None:
    """A failover counts as well."""
    desk = make_desk()
    await desk.look()
    assert desk.value("redis_restarts_total") == 0
    desk.run_id = "b"
    await desk.look()
    await desk.look()
    assert desk.value("redis_restarts_total") == 1


async def test_without_redis_it_says_so_and_is_not_ready_after_a_while(make_desk: Any) -> None:
    """One survey that fails is no outage."""
    desk = make_desk()
    assert not desk.exporter.ready
    await desk.look()
    assert (desk.exporter.ready, desk.value("redis_up")) == (True, 1)
    desk.states = None
    await desk.exporter.look()
    assert (desk.exporter.ready, desk.value("redis_up")) == (True, 0)
    for _ in range(2):
        await desk.exporter.look()
    assert not desk.exporter.ready
    assert desk.value("redis_errors_total", operation="survey") == 3
    await desk.look()
    assert desk.exporter.ready


async def test_a_changed_file_is_adopted_and_a_broken_one_is_not(make_desk: Any) -> None:
    """Tenants come and go without a restart."""
    desk = make_desk()
    file = desk.site.tenant_file("t1")
    text = file.read_text()
    file.write_text("nonsense")
    os.utime(file, ns=(1, 1))
    await desk.look()
    assert desk.value("tenants") == 2
    assert desk.value("config_reloads_total", outcome="refused") == 1
    file.write_text(text)
    file.rename(file.with_suffix(".gone"))
    await desk.look()
    assert desk.value("tenants") == 1
    assert desk.value("config_reloads_total", outcome="adopted") == 1


async def test_client_keys_show_when_the_first_one_ends(make_desk: Any) -> None:
    """In time to make the next."""
    desk = make_desk()
    await desk.look()
    assert desk.value("client_expiry_timestamp_seconds", tenant="t0") == 4070908800  # 2099-01-01


async def test_an_active_version_that_ends_is_told_by_its_key(make_desk: Any) -> None:
    """With a certificate, the earlier of both."""
    desk = make_desk()
    file = desk.site.tenant_file("t0")
    file.write_text(file.read_text() + "expires = 2050-01-01T00:00:00Z\n")
    await desk.look()
    assert desk.value("certificate_expiry_timestamp_seconds", tenant="t0", key="release") == 2524608000
    assert desk.value("certificate_expiry_timestamp_seconds", tenant="t1", key="release") is None
