"""Exporter of queue metrics: a survey as gauges, with a bounded number of tenants by name."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from queueing.broker.queue_stats import QueueState, RedisState
from queueing.errors import QueueUnavailable
from queueing.protocol.public_keys import PublicKey
from tests.support.fakes.certificates import DAY, NOW, Kind, issue, pem, private_key
from tests.support.fakes.config_files import Site, client_line, tenant_text, version_lines
from tests.support.keys import spki_of
from workers.config.loading import load_configuration
from workers.telemetry import queue_exporter as module
from workers.telemetry.metrics_catalogue import QueueMetrics
from workers.telemetry.queue_exporter import QueueExporter


class Harness:
    """Exporter whose surveys return ``states``; None: Redis does not answer."""

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

    async def survey(self, **states: QueueState) -> None:
        self.states = states
        await self.exporter.survey_once()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"sigmill_{name}", labels)


class MakeHarness(Protocol):
    """Maker of a harness with so many tenants, each with these ``[limits]``."""

    def __call__(self, tenants: int = 2, limits: str = "") -> Harness: ...


@pytest.fixture
def make_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHarness:
    return lambda tenants=2, limits="": Harness(tmp_path, monkeypatch, tenants, limits)


async def test_a_tenant_with_a_backlog_has_its_gauges_and_an_idle_one_has_none(
    make_harness: MakeHarness,
) -> None:
    """The gauges of a tenant are removed when its backlog is empty."""
    harness = make_harness()
    await harness.survey(t0=QueueState(ready=3, leased=2, digests=70, age_s=9.5))
    assert harness.value("queue_jobs", tenant="t0", state="ready") == 3
    assert harness.value("queue_jobs", tenant="t0", state="leased") == 2
    assert harness.value("backlog_digests", tenant="t0") == 70
    assert harness.value("backlog_age_seconds", tenant="t0") == 9.5
    assert harness.value("backlog_room_digests", tenant="t0") == 2_000_000 - 70
    assert harness.value("backlog_digests", tenant="t1") is None
    await harness.survey()
    assert harness.value("backlog_digests", tenant="t0") is None


async def test_of_many_busy_tenants_the_oldest_have_names(make_harness: MakeHarness) -> None:
    """The others are summed under ``other``, with their maximum age, and there are fewer than 2,000 series."""
    harness = make_harness(tenants=300, limits="\n[limits]\ndigests_per_day = 5\n")
    busy = {
        f"t{i}": QueueState(ready=1, digests=10, age_s=float(i), dead=1, accepted_digests=1)
        for i in range(300)
    }
    await harness.survey(**busy)
    await harness.survey(
        **{
            name: QueueState(accepted_digests=9, refused=3, age_s=s.age_s, digests=10)
            for name, s in busy.items()
        }
    )
    await harness.survey(**busy)
    assert harness.value("backlog_age_seconds", tenant="t299") == 299
    assert harness.value("backlog_age_seconds", tenant="t0") is None
    assert harness.value("backlog_age_seconds", tenant="other") == 199
    assert harness.value("backlog_digests", tenant="other") == 2000
    assert harness.value("dead_letters", tenant="other") == 200
    lines = generate_latest(harness.registry).decode().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) < 2000


async def test_accepted_and_refused_digests_count_from_the_first_survey_on(
    make_harness: MakeHarness,
) -> None:
    """Only increases between surveys count; a counter that was reset in Redis starts again from its new value."""
    harness = make_harness()
    for accepted, refused in ((100, 5), (130, 6), (10, 0), (15, 0)):
        await harness.survey(t0=QueueState(accepted_digests=accepted, refused=refused))
    assert harness.value("submitted_digests_total", tenant="t0") == 35
    assert harness.value("submits_refused_total", tenant="t0") == 1


async def test_a_budget_shows_what_is_left(make_harness: MakeHarness) -> None:
    """The budget is exported for tenants without a backlog, too, and is never negative."""
    harness = make_harness(limits="\n[limits]\ndigests_per_day = 50\n")
    await harness.survey(t0=QueueState(spent=20), t1=QueueState(spent=60))
    assert harness.value("budget_left_digests", tenant="t0") == 30
    assert harness.value("budget_left_digests", tenant="t1") == 0


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
    make_harness: MakeHarness, caps: tuple[int, int, int] | None, astray: float | None
) -> None:
    """Caps looser than configured are not reported: the claim enforces the configured ones."""
    harness = make_harness()
    await harness.survey(t0=QueueState(caps=caps))
    assert harness.value("limits_astray", tenant="t0") == astray


async def test_a_redis_that_is_another_process_was_restarted(make_harness: MakeHarness) -> None:
    """A changed run id of Redis, by restart or failover, counts once."""
    harness = make_harness()
    await harness.survey()
    assert harness.value("redis_restarts_total") == 0
    harness.run_id = "b"
    await harness.survey()
    await harness.survey()
    assert harness.value("redis_restarts_total") == 1


async def test_without_redis_the_exporter_is_not_ready_after_three_surveys(make_harness: MakeHarness) -> None:
    """The first failed survey clears redis_up, the third one readiness; one success restores it."""
    harness = make_harness()
    assert not harness.exporter.ready
    await harness.survey()
    assert (harness.exporter.ready, harness.value("redis_up")) == (True, 1)
    harness.states = None
    await harness.exporter.survey_once()
    assert (harness.exporter.ready, harness.value("redis_up")) == (True, 0)
    for _ in range(2):
        await harness.exporter.survey_once()
    assert not harness.exporter.ready
    assert harness.value("redis_errors_total", operation="survey") == 3
    await harness.survey()
    assert harness.exporter.ready


async def test_a_changed_file_is_adopted_and_a_broken_one_is_not(make_harness: MakeHarness) -> None:
    """An invalid file leaves the configuration in force; a removed tenant is gone without a restart."""
    harness = make_harness()
    file = harness.site.tenant_file("t1")
    text = file.read_text()
    file.write_text("nonsense")
    os.utime(file, ns=(1, 1))
    await harness.survey()
    assert harness.value("tenants") == 2
    assert harness.value("config_reloads_total", outcome="refused") == 1
    file.write_text(text)
    file.rename(file.with_suffix(".gone"))
    await harness.survey()
    assert harness.value("tenants") == 1
    assert harness.value("config_reloads_total", outcome="adopted") == 1


async def test_whatever_a_file_does_to_its_reader_the_exporter_goes_on(
    make_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that no reader declares is a refused file: backlogs of all tenants are still shown."""
    harness = make_harness()

    def odd(_: Path) -> NoReturn:
        raise LookupError("a certificate's name")

    monkeypatch.setattr(module, "load_configuration", odd)
    os.utime(harness.site.tenant_file("t1"), ns=(1, 1))
    await harness.survey(t0=QueueState(ready=3))
    assert harness.value("config_reloads_total", outcome="refused") == 1
    assert harness.value("queue_jobs", tenant="t0", state="ready") == 3
    (refused,) = [record for record in caplog.records if record.msg == "config.refused"]
    assert vars(refused)["why"] == "LookupError: a certificate's name"


async def test_client_keys_show_when_the_first_one_ends(make_harness: MakeHarness) -> None:
    """The gauge is the Unix time of the first expiry of a client key."""
    later = f'\n[clients.build-2]\npublic_key = "{client_line()}"\nexpires = 2100-01-01T00:00:00Z\n'
    harness = make_harness(limits=later)
    await harness.survey()
    assert harness.value("client_expiry_timestamp_seconds", tenant="t0") == 4070908800  # 2099-01-01


async def test_the_expiry_of_an_active_version_is_exported_by_key(make_harness: MakeHarness) -> None:
    """A version with ``expires`` has a gauge, one without has none."""
    harness = make_harness()
    file = harness.site.tenant_file("t0")
    file.write_text(file.read_text() + "expires = 2050-01-01T00:00:00Z\n")
    await harness.survey()
    assert harness.value("certificate_expiry_timestamp_seconds", tenant="t0", key="release") == 2524608000
    assert harness.value("certificate_expiry_timestamp_seconds", tenant="t1", key="release") is None


async def test_the_certificate_that_ends_first_counts_whichever_authority_issued_it(
    make_harness: MakeHarness,
) -> None:
    """Of all chains of a version that is active, or waits to be."""
    harness = make_harness()
    file = harness.site.tenant_file("t0")
    key = Kind(key=private_key(77))
    spki = spki_of(private_key(77))
    root = Kind(name="root", key=private_key(78), authority=True)
    for name, days in (("first", 300), ("second", 100)):
        ends = NOW + days * DAY
        leaf = issue(dataclasses.replace(key, ends=ends), by=root)
        (file.parent / f"{name}.pem").write_bytes(pem(leaf, issue(root, by=root)))
    head, header, _ = file.read_text().partition("[[keys.release.versions]]\n")
    version = version_lines(PublicKey.from_spki(spki), token="t0")
    chains = 'certificates = ["first.pem"]\nchains = { other = "second.pem" }\n'
    file.write_text(head + header + version + chains)

    await harness.survey()

    shown = harness.value("certificate_expiry_timestamp_seconds", tenant="t0", key="release")
    assert shown == (NOW + 100 * DAY).timestamp()
    file.write_text(file.read_text().replace('state = "active"', 'state = "next"'))
    file.write_text(file.read_text().replace("epoch = 4", "epoch = 5"))
    await harness.survey()
    assert harness.value("config_reloads_total", outcome="adopted") == 2
    shown = harness.value("certificate_expiry_timestamp_seconds", tenant="t0", key="release")
    assert shown == (NOW + 100 * DAY).timestamp()
