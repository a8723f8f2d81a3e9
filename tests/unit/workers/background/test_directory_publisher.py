"""Publication of key directories: at the start, after a reload, after a loss, and again after a failure."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.errors import QueueUnavailable, TokenUnavailable
from queueing.protocol import keyspace
from queueing.protocol.jobs import WireError
from queueing.protocol.key_directory import KeyDirectory, encode_directory, encode_signed
from tests.support.fakes.configurations import configuration, tenant
from tests.support.fakes.fake_lane import FakeClock
from tests.support.fakes.recording_log import RecordingLog
from tests.support.waiting import turn
from workers.background import directory_publisher as module
from workers.background.directory_publisher import CHECK_S, RENEWALS, WITHHELD_S, DirectoryPublisher
from workers.config.settings import WorkerSettings
from workers.current_config import CurrentConfig
from workers.journal.event_records import DirectoryRecord
from workers.lanes.protocol import SignDirectory, SignedDirectory
from workers.lanes.supervisor.registry import LaneRegistry
from workers.published_epochs import PublishedEpochs
from workers.telemetry.metrics import Metrics


@dataclass
class Service:
    """The service's lane, the directories in Redis, and the clock."""

    published: list[str] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    recorded_before: list[int] = field(default_factory=list)
    lives_ms: list[int] = field(default_factory=list)
    signed: list[bytes] = field(default_factory=list)
    lane_ttl_s: float = 365 * 86_400.0
    lane_fails: bool = False
    redis_away: bool = False
    newer: int | None = None
    newer_from: int = 0
    """Records in the log from which on the newer directory is there."""

    log: RecordingLog = field(default_factory=RecordingLog)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    @property
    def service_lanes(self) -> Service:
        return self

    @property
    def requests(self) -> Service:
        return self

    async def sign_directory(self, request: SignDirectory) -> SignedDirectory:
        if self.lane_fails:
            return SignedDirectory(request.id, b"", WireError.of(TokenUnavailable()))
        latest_ms = request.issued_at_ms + int(self.lane_ttl_s * 1000)
        directory = KeyDirectory(
            audience="test",
            tenant=request.tenant,
            epoch=1,
            issued_at_ms=request.issued_at_ms,
            expires_at_ms=min(request.expires_at_ms, latest_ms),
            keys={},
        )
        return SignedDirectory(request.id, encode_signed(encode_directory(directory), b"s", b"k"))

    async def publish_directory(self, _: Redis, key: str, signed: bytes, ttl_ms: int) -> None:
        if self.redis_away:
            raise QueueUnavailable
        self.recorded_before.append(len(self.log.durable))
        self.published.append(key)
        self.lives_ms.append(ttl_ms)
        self.signed.append(signed)
        self.stored.add(key)

    def failures(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("sigmill_directories_published_total", {"outcome": outcome})

    async def directories_missing(self, _: Redis, tenants: Sequence[str]) -> list[str]:
        return [name for name in tenants if keyspace.directory(name) not in self.stored]


@dataclass
class Epochs:
    """Epochs of the directories in Redis."""

    service: Service

    async def published(self, tenants: Sequence[str]) -> dict[str, int]:
        newer = self.service.newer
        is_there = newer is not None and len(self.service.log.durable) >= self.service.newer_from
        return dict.fromkeys(tenants, newer or 0) if is_there else {}


class Clock(FakeClock):
    """Monotonic and wall clock are one."""

    def unix_ms(self) -> int:
        return int(self.now * 1000)


ACME, GLOBEX = keyspace.directory("acme"), keyspace.directory("globex")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "unix_ms", made.unix_ms)
    return made


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(module, "publish_directory", made.publish_directory)
    monkeypatch.setattr(module, "directories_missing", made.directories_missing)
    return made


@pytest.fixture
def config() -> CurrentConfig:
    return CurrentConfig(configuration([tenant("acme"), tenant("globex")]))


@pytest.fixture
async def publisher(
    service: Service, config: CurrentConfig, clock: Clock
) -> AsyncIterator[DirectoryPublisher]:
    made = DirectoryPublisher(
        cast("Redis", None),
        config,
        lanes=cast("LaneRegistry", service),
        wal=service.log.wal,
        epochs=cast("PublishedEpochs", Epochs(service)),
        metrics=Metrics(service.registry),
    )
    running = asyncio.ensure_future(made.run())
    await turn()
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def check(publisher: DirectoryPublisher) -> None:
    """Have the publisher go through its work once more."""
    publisher.configuration_changed([])
    await turn()


async def test_every_directory_is_published_at_the_start(
    service: Service, publisher: DirectoryPublisher
) -> None:
    """Each is published once, and not again before it is due."""
    assert service.published == [ACME, GLOBEX]
    await check(publisher)
    assert service.published == [ACME, GLOBEX]


async def test_a_reload_publishes_the_changed_directories_at_once(
    service: Service, publisher: DirectoryPublisher
) -> None:
    """Others keep their turn."""
    publisher.configuration_changed(["globex"])
    await turn()
    assert service.published[2:] == [GLOBEX]


async def test_a_directory_that_redis_lost_is_published_again(
    service: Service, publisher: DirectoryPublisher
) -> None:
    """Without it no client of the tenant can start."""
    service.stored.discard(ACME)
    await check(publisher)
    await turn()
    assert service.published[2:] == [ACME]


async def test_a_failure_is_counted_and_retried_after_the_check_interval(
    service: Service, publisher: DirectoryPublisher, clock: Clock
) -> None:
    """Whether the lane failed or Redis."""
    service.lane_fails = True
    publisher.configuration_changed(["acme"])
    await turn()
    service.lane_fails, service.redis_away = False, True
    await check(publisher)
    assert (service.failures("token.unavailable"), service.failures("queue.unavailable")) == (1, None)
    clock.now += CHECK_S
    await check(publisher)
    assert (service.failures("token.unavailable"), service.failures("queue.unavailable")) == (1, 1)
    service.redis_away = False
    clock.now += CHECK_S
    await check(publisher)
    assert service.published[2:] == [ACME]


@pytest.mark.parametrize("ttl_s", [60.0, 30 * 86_400.0])
async def test_a_changed_time_to_live_renews_all_directories_by_it(
    service: Service, publisher: DirectoryPublisher, config: CurrentConfig, clock: Clock, ttl_s: float
) -> None:
    """Lanes bound directories by it at once: renewed by the old one, they would expire in between."""
    settings = WorkerSettings(directory_ttl_s=ttl_s)
    config.adopt(configuration([tenant("acme"), tenant("globex")], worker=settings))
    await check(publisher)
    assert service.published[2:] == [ACME, GLOBEX]
    clock.now += ttl_s / RENEWALS - 1
    await check(publisher)
    assert len(service.published) == 4
    clock.now += 2
    await check(publisher)
    assert len(service.published) == 6


async def test_a_directory_is_renewed_by_the_life_that_its_lane_gave_it(
    service: Service, publisher: DirectoryPublisher, clock: Clock
) -> None:
    """A host-started lane that reads an older file bounds it by a shorter `directory_ttl_s`: it would expire in between."""
    service.lane_ttl_s = 60.0
    publisher.configuration_changed(["acme"])
    await turn()
    assert service.lives_ms[2:] == [60_000]
    clock.now += 60.0 / RENEWALS + 1
    await check(publisher)
    assert service.published[2:] == [ACME, ACME]


async def test_a_directory_that_was_signed_as_expired_is_not_published(
    service: Service, publisher: DirectoryPublisher, clock: Clock
) -> None:
    """It would replace one that clients believe; it is counted as a failure, and retried."""
    service.lane_ttl_s = -1.0
    publisher.configuration_changed(["acme"])
    await turn()
    assert service.published == [ACME, GLOBEX]
    assert service.failures("token.unavailable") == 1
    service.lane_ttl_s = 60.0
    clock.now += CHECK_S
    await check(publisher)
    assert service.published[2:] == [ACME]


async def test_a_directory_is_in_the_log_before_clients_have_it(
    service: Service, publisher: DirectoryPublisher, config: CurrentConfig
) -> None:
    """With its hash, epoch and the service key that signed it."""
    del publisher
    assert service.recorded_before == [1, 2]
    first, _ = service.log.durable
    assert isinstance(first, DirectoryRecord)
    key = config.service.service_key
    assert (first.tenant, first.epoch, first.token) == ("acme", 1, key.token)
    assert first.public_key_sha256 == key.public_key.sha256
    assert first.sha256 == hashlib.sha256(service.signed[0]).digest()


async def test_while_the_log_fails_no_directory_is_published(
    service: Service, config: CurrentConfig, clock: Clock
) -> None:
    """It is tried again, like any failure."""
    service.log.failures = 2
    made = DirectoryPublisher(
        cast("Redis", None),
        config,
        lanes=cast("LaneRegistry", service),
        wal=service.log.wal,
        epochs=cast("PublishedEpochs", Epochs(service)),
        metrics=Metrics(service.registry),
    )
    running = asyncio.ensure_future(made.run())
    await turn()
    assert service.published == []
    clock.now += CHECK_S
    await check(made)
    assert service.published == [ACME, GLOBEX]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_newer_directory_of_another_host_stays_in_place(
    service: Service, publisher: DirectoryPublisher, clock: Clock
) -> None:
    """Clients that have seen it would refuse the older one for good. It is looked at again, and nothing is recorded meanwhile."""
    service.newer = 2
    publisher.configuration_changed(["acme"])
    await turn()
    clock.now += CHECK_S
    await check(publisher)
    assert service.published == [ACME, GLOBEX]
    assert len(service.log.durable) == 2
    assert service.failures("withheld") == 1
    service.newer = 1
    clock.now += WITHHELD_S
    await check(publisher)
    assert service.published[2:] == [ACME]


async def test_a_newer_directory_that_comes_while_the_log_is_written_stays_in_place(
    service: Service, publisher: DirectoryPublisher, clock: Clock
) -> None:
    """The disk may take seconds for the record of what was signed."""
    service.newer, service.newer_from = 2, len(service.log.durable) + 1
    publisher.configuration_changed(["acme"])
    await turn()
    clock.now += CHECK_S
    await check(publisher)
    assert service.published == [ACME, GLOBEX]
    assert service.failures("withheld") == 1
