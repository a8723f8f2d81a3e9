"""Composition of the service: made without I/O, and connected."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from tests.support.fakes.config_files import Site
from tests.support.waiting import turn
from workers.composition.foundation import owner_id
from workers.composition.service import build_service
from workers.config.loading import Configuration, load_configuration
from workers.intake.claim_planner import ClaimPlanner
from workers.service import SigningService
from workers.telemetry.metrics import Metrics


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return load_configuration(Site(tmp_path).write().config)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def service(configuration: Configuration, registry: CollectorRegistry) -> SigningService:
    redis = Redis(host="192.0.2.1", single_connection_client=False)
    return build_service(configuration, redis=redis, doorbells=redis, metrics=Metrics(registry))


async def test_a_new_service_is_not_ready_and_has_no_jobs(
    service: SigningService, registry: CollectorRegistry
) -> None:
    """Nothing runs before ``run``; the gauges can be scraped already."""
    assert (service.ready, service.draining, service.drain_s) == (False, False, 20.0)
    assert registry.get_sample_value("sigmill_jobs_in_flight") == 0
    assert registry.get_sample_value("sigmill_tenants") == 1


async def test_building_a_service_writes_nothing(
    configuration: Configuration, service: SigningService
) -> None:
    """The state directory is taken by ``open``."""
    assert not configuration.service.state_dir.exists()


async def test_every_part_that_runs_is_run_by_the_service(service: SigningService) -> None:
    """A part with a ``run`` method is the claim loop or a background task."""
    parts = service._parts
    runnable = [getattr(parts, name) for name in parts.__slots__ if hasattr(getattr(parts, name), "run")]
    assert parts.claim_loop in runnable
    assert all(part in parts.background for part in runnable if part is not parts.claim_loop)
    assert len(parts.background) == len(set(map(id, parts.background)))


async def test_the_shutdown_wakes_the_claim_loop(
    service: SigningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle loop sleeps until a doorbell rings or the next poll is due, and ends at once when told."""
    monkeypatch.setattr(ClaimPlanner, "plan", lambda _: [])
    service._parts.claim_loop._poll_every_s = 3600.0
    claiming = asyncio.ensure_future(service._parts.claim_loop.run())
    await turn()
    assert not claiming.done()
    service.drain()
    await claiming
    assert service.draining


@pytest.mark.parametrize("host", ["worker", "a:b", "a b", "\udcff", "ü" * 64])
def test_no_two_workers_have_one_id(host: str) -> None:
    """Host name and process id may be equal in containers; a colon would end the owner in a lease."""
    first, second = owner_id(host, 1), owner_id(host, 1)
    assert first != second
    assert ":" not in first
    assert len(first.encode()) <= 256


async def test_a_reload_leaves_the_shutdown_as_it_was_started(
    configuration: Configuration, service: SigningService
) -> None:
    """Else the thread that ends the process would not wait for the steps, which have the ``drain_s`` of the start."""
    worker = structs.replace(configuration.service.worker, drain_s=5.0)
    service._parts.config.adopt(
        dataclasses.replace(configuration, service=dataclasses.replace(configuration.service, worker=worker))
    )
    assert service.drain_s == service._parts.shutdown.drain_s == 20.0
