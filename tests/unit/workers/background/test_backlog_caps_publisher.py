"""Publication of caps: at the start, after a reload, at an interval, and again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.errors import QueueUnavailable
from queueing.protocol.limits import PublishedCaps
from tests.support.fakes.configurations import configuration, tenant
from tests.support.waiting import turn
from workers.background import backlog_caps_publisher as module
from workers.background.backlog_caps_publisher import BacklogCapsPublisher
from workers.config.tenant_limits import TenantLimits
from workers.current_config import CurrentConfig
from workers.telemetry.metrics import Metrics


class Published(list[dict[str, PublishedCaps]]):
    """Published caps, in order; the first ``failures`` attempts fail."""

    failures = 0

    async def __call__(self, _: Redis, caps: Mapping[str, PublishedCaps]) -> None:
        if self.failures:
            self.failures -= 1
            raise QueueUnavailable
        self.append(dict(caps))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    made = Published()
    monkeypatch.setattr(module, "publish_caps", made)
    return made


@pytest.fixture
def config() -> CurrentConfig:
    return CurrentConfig(configuration([tenant("acme"), tenant("globex")]))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
async def publisher(
    published: Published, config: CurrentConfig, metrics: Metrics
) -> AsyncIterator[BacklogCapsPublisher]:
    made = BacklogCapsPublisher(cast("Redis", None), config, metrics)
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_caps_are_published_at_the_start(published: Published, publisher: BacklogCapsPublisher) -> None:
    """All tenants in one call."""
    await turn()
    assert published == [{"acme": TenantLimits().caps, "globex": TenantLimits().caps}]


async def test_a_reload_publishes_the_new_caps_at_once(
    published: Published, publisher: BacklogCapsPublisher, config: CurrentConfig
) -> None:
    """The next renewal would be ten seconds later."""
    await turn()
    caps = PublishedCaps(backlog_digests=7)
    changed = config.adopt(configuration([tenant("acme", limits=TenantLimits(caps=caps))]))
    publisher.configuration_changed(changed)
    await turn()
    assert published[1:] == [{"acme": caps}]


async def test_a_failure_is_counted_and_retried_with_the_next_renewal(
    published: Published, publisher: BacklogCapsPublisher, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without caps the submit script lets everything through; the claim enforces the limits."""
    await turn()
    monkeypatch.setattr(module, "RENEWAL_S", 0.0)
    published.failures = 2
    publisher.configuration_changed([])
    while len(published) < 2:
        await turn(1)
    assert metrics.redis_errors.labels("caps")._value.get() == 2
