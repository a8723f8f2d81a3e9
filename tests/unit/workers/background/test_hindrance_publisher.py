"""Publication of hindrances: which tenants are not signed for, and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.broker import hindrances
from queueing.broker.hindrance_values import MOST_NAMED, Hindrance
from queueing.errors import QueueUnavailable
from tests.support.fakes.configurations import current_config, tenant
from workers.background.hindrance_publisher import HindrancePublisher
from workers.lanes.supervisor.circuit_breaker import Circuit
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lanes.supervisor.token_pool import TokenPool
from workers.limits.log_shares import LogShares
from workers.telemetry.metrics import Metrics


class Lanes:
    """A registry of which the tenants without a usable token are given."""

    def __init__(self) -> None:
        self.tenants: dict[str, list[TokenPool]] = {}

    def unusable(self) -> dict[str, list[TokenPool]]:
        return self.tenants


def pool(token: str, circuit: Circuit, *, drained: bool = False) -> TokenPool:
    return cast(
        "TokenPool", SimpleNamespace(token=token, drained=drained, status=SimpleNamespace(circuit=circuit))
    )


class Feed:
    """Publications, or a Redis that is away."""

    def __init__(self) -> None:
        self.published: list[Mapping[str, Hindrance]] = []
        self.away = False

    async def publish(self, _: Redis, found: Mapping[str, Hindrance]) -> None:
        if self.away:
            raise QueueUnavailable
        self.published.append(found)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    made = Feed()
    monkeypatch.setattr(hindrances, "publish", made.publish)
    return made


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def log_shares(metrics: Metrics) -> LogShares:
    return LogShares(current_config([tenant("acme"), tenant("globex")]), metrics)


@pytest.fixture
def publisher(lanes: Lanes, log_shares: LogShares, metrics: Metrics) -> HindrancePublisher:
    return HindrancePublisher(
        cast("Redis", None), lanes=cast("LaneRegistry", lanes), log_shares=log_shares, metrics=metrics
    )


async def test_a_tenant_that_has_filled_its_share_of_the_disk_is_told_so(
    feed: Feed, log_shares: LogShares, publisher: HindrancePublisher
) -> None:
    """Also where its tokens are well."""
    log_shares.log_written("acme", 1000)
    log_shares.judge(10)
    await publisher.publish()
    (found,) = feed.published
    assert [*found] == ["acme"]
    assert str(found["acme"]).endswith(
        "signs nothing for this tenant: its records of today have filled its share of that host's disk, until 00:00 UTC"
        " or until the operator makes space"
    )


async def test_each_unusable_token_is_named_with_its_cause(
    feed: Feed, lanes: Lanes, publisher: HindrancePublisher
) -> None:
    """A refused PIN and a drain wait for the operator."""
    lanes.tenants = {
        "acme": [
            pool("one", Circuit.REFUSED),
            pool("two", Circuit.CLOSED, drained=True),
            pool("three", Circuit.OPEN),
        ]
    }
    await publisher.publish()
    (found,) = feed.published
    assert str(found["acme"]).endswith(
        "signs nothing for this tenant: token one refused its PIN, token two is drained, token three fails"
        " (the operator has to act)"
    )


async def test_a_token_that_fails_for_now_needs_no_operator(
    feed: Feed, lanes: Lanes, publisher: HindrancePublisher
) -> None:
    """Its circuit breaker closes by itself."""
    lanes.tenants = {"acme": [pool("one", Circuit.OPEN)]}
    await publisher.publish()
    assert str(feed.published[0]["acme"]).endswith("signs nothing for this tenant: token one fails")


@pytest.mark.parametrize(
    "circuit, drained", [(Circuit.REFUSED, False), (Circuit.OPEN, True), (Circuit.OPEN, False)]
)
async def test_no_more_tokens_are_named_than_clients_read(
    feed: Feed, lanes: Lanes, publisher: HindrancePublisher, circuit: Circuit, drained: bool
) -> None:
    """A message with more of them would be refused as a whole."""
    lanes.tenants = {"acme": [pool(f"t{i}", circuit, drained=drained) for i in range(MOST_NAMED + 1)]}
    await publisher.publish()
    found = feed.published[0]["acme"]
    assert max(map(len, (found.refused_pins, found.drained, found.failing))) == MOST_NAMED
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Hindrance) == found


async def test_nothing_is_published_while_all_can_be_signed_for(
    feed: Feed, publisher: HindrancePublisher
) -> None:
    """That costs no round trip."""
    await publisher.publish()
    assert feed.published == []


async def test_redis_may_be_away(
    feed: Feed, lanes: Lanes, publisher: HindrancePublisher, metrics: Metrics
) -> None:
    """It is counted and tried again."""
    lanes.tenants, feed.away = {"acme": [pool("one", Circuit.OPEN)]}, True
    await publisher.publish()
    assert metrics.redis_errors.labels("announce")._value.get() == 1
    feed.away = False
    await publisher.publish()
    assert [*feed.published[0]] == ["acme"]
