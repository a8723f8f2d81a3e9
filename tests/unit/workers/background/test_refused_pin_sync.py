"""Refused PINs of other hosts: stored for the tokens of this host before its lanes start."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.coordination import refused_pin_feed
from queueing.errors import QueueUnavailable
from tests.support.fakes.configurations import configuration
from workers.background import refused_pin_sync as module
from workers.background.refused_pin_sync import RefusedPinSync
from workers.config.settings import TokenSettings
from workers.current_config import CurrentConfig
from workers.state.refused_pins import RefusedPins
from workers.telemetry.metrics import Metrics


@dataclass
class Host:
    """The state directory of one host, and the feed in Redis. ``hangs``: Redis does not answer."""

    told: Mapping[str, bytes] = field(default_factory=lambda: {"acme": b"our warning"})
    received: dict[str, bytes] = field(
        default_factory=lambda: {"acme": b"a warning", "elsewhere": b"another"}
    )
    sent: list[Mapping[str, bytes]] = field(default_factory=list)
    stored: list[Mapping[str, bytes]] = field(default_factory=list)
    hangs: bool = False
    away: bool = False
    disk_full: bool = False
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def to_report(self) -> Mapping[str, bytes]:
        return self.told

    def replace_reported(self, warnings: Mapping[str, bytes]) -> None:
        if self.disk_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.stored.append(warnings)

    async def sync(self, _: Redis, told: Mapping[str, bytes]) -> dict[str, bytes]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise QueueUnavailable
        self.sent.append(told)
        return self.received


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(refused_pin_feed, "sync", made.sync)
    return made


@pytest.fixture
def sync(host: Host) -> RefusedPinSync:
    base = configuration()
    tokens = {"acme": cast("TokenSettings", None)}
    config = CurrentConfig(replace(base, service=replace(base.service, tokens=tokens)))
    return RefusedPinSync(
        cast("Redis", None), config, refused_pins=cast("RefusedPins", host), metrics=host.metrics
    )


async def test_other_hosts_warnings_are_stored_for_the_tokens_of_this_host(
    host: Host, sync: RefusedPinSync
) -> None:
    """Lanes read them from the state directory; this host's own warnings are sent."""
    await sync.sync_at_start()
    assert host.stored == [{"acme": b"a warning"}]
    assert host.sent == [{"acme": b"our warning"}]


async def test_a_redis_that_hangs_does_not_stop_the_start(
    host: Host, sync: RefusedPinSync, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Lanes then start without the other hosts' warnings, and the log says so."""
    monkeypatch.setattr(module, "FIRST_SYNC_S", 0.0)
    host.hangs = True
    await sync.sync_at_start()
    assert [record.getMessage() for record in caplog.records] == ["pins.not_heard"]


async def test_an_outage_of_redis_is_counted(host: Host, sync: RefusedPinSync) -> None:
    """It does not stop the start."""
    host.away = True
    await sync.sync_at_start()
    assert host.metrics.redis_errors.labels("pins")._value.get() == 1


async def test_a_warning_that_cannot_be_stored_is_logged(
    host: Host, sync: RefusedPinSync, caplog: pytest.LogCaptureFixture
) -> None:
    """Lanes try no PIN while the state directory cannot be written."""
    host.disk_full = True
    await sync.sync_at_start()
    assert [record.getMessage() for record in caplog.records] == ["pins.not_noted"]


async def test_a_warning_is_logged_once(
    host: Host, sync: RefusedPinSync, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at each exchange."""
    await sync.sync_at_start()
    await sync.sync_at_start()
    assert [record.getMessage() for record in caplog.records] == ["pins.heard"]
