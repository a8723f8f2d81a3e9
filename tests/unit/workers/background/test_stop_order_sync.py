"""Stop orders: verified, applied, stored, and published again; a feed in memory stands in for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.coordination import stop_order_feed
from queueing.coordination.stop_order_feed import Poll
from queueing.errors import QueueUnavailable
from queueing.protocol.client_keys import ClientKey, ClientPublicKey
from queueing.protocol.stop_orders import StopOrder, sign_order
from tests.support.disk.full import no_space
from tests.support.fakes.configurations import configuration, tenant
from tests.support.fakes.recording_log import RecordingLog
from tests.support.waiting import turn
from workers.background.event_collector import EventCollector
from workers.background.stop_order_sync import StopOrderSync
from workers.config.loading import Configuration
from workers.current_config import CurrentConfig
from workers.current_stop_orders import CurrentStopOrders
from workers.journal.event_records import StopOrderRecord
from workers.journal.event_spool import EventSpool
from workers.lanes.supervisor.registry import LaneRegistry
from workers.state import stop_orders
from workers.telemetry.metrics import Metrics

ALICE, MALLORY = ClientKey.generate(), ClientKey.generate()


def order(number: int = 1) -> StopOrder:
    return StopOrder(
        audience="test",
        order_id=bytes([number]) * 16,
        issued_at_ms=1,
        operator="alice",
        scope="tenant",
        tenant="acme",
    )


def with_operator(state_dir: Path, *, known: bool = True) -> Configuration:
    base = configuration([tenant("acme")], state_dir=state_dir)
    operators = {"alice": ClientPublicKey.from_spki(ALICE.public_spki)} if known else {}
    return replace(base, service=replace(base.service, operators=operators))


@dataclass
class Worker:
    """One worker's orders; the feed, and the lanes that were told to apply orders."""

    state_dir: Path
    operator_known: bool = True
    feed: dict[bytes, bytes] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    lanes_confirm: bool = True
    redis_away: bool = False
    polled: asyncio.Event = field(default_factory=asyncio.Event)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.config = CurrentConfig(with_operator(self.state_dir, known=self.operator_known))
        self.orders = CurrentStopOrders()
        self.log = RecordingLog()
        self.sync = StopOrderSync(
            cast("Redis", None),
            self.config,
            orders=self.orders,
            lanes=cast("LaneRegistry", self),
            owner="w1",
            wal=self.log.wal,
            metrics=Metrics(self.registry),
        )

    async def poll(self, _: Redis, known: Collection[bytes]) -> Poll:
        self.polled.set()
        if self.redis_away:
            raise QueueUnavailable
        known = set(known)
        new = {order_id: signed for order_id, signed in self.feed.items() if order_id not in known}
        return Poll(new, frozenset(known - self.feed.keys()))

    async def publish(self, _: Redis, orders: Mapping[bytes, bytes]) -> int:
        self.feed.update(orders)
        return 1

    async def acknowledge(self, _: Redis, order_ids: Collection[str], worker: str, now_ms: int) -> None:
        self.adopted += order_ids

    def apply_stop_orders(self, tenant_name: str) -> None:
        self.told.append(tenant_name)

    def stop_orders_applied(self, _: str) -> bool:
        return self.lanes_confirm

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.sync.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def one_poll(self) -> None:
        """Have the sync poll the feed once more, and wait until it did."""
        self.polled.clear()
        self.sync.configuration_changed([])
        async with asyncio.timeout(10):
            await self.polled.wait()
        await turn()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker(tmp_path)
    for name in ("poll", "publish", "acknowledge"):
        monkeypatch.setattr(stop_order_feed, name, getattr(made, name))
    return made


async def test_an_order_of_an_operator_is_applied_at_once(worker: Worker) -> None:
    """Before it is stored or reported; a second copy changes nothing."""
    signed = sign_order(order(), ALICE)
    worker.sync.offer(signed)
    worker.sync.offer(signed)
    assert worker.orders.signed_orders("acme") == (signed,)
    assert worker.told == ["acme"]


async def test_an_order_that_no_operator_signed_is_refused_and_counted(worker: Worker) -> None:
    """Once, however often it is offered."""
    forged = sign_order(order(), MALLORY)
    for _ in range(3):
        worker.sync.offer(forged)
    assert len(worker.orders) == 0
    sample = ("sigmill_stop_orders_refused_total", {"reason": "signature"})
    assert worker.registry.get_sample_value(*sample) == 1


async def test_a_refused_order_is_verified_again_after_a_reload(worker: Worker) -> None:
    """Its operator may be configured now."""
    worker.config.adopt(with_operator(worker.state_dir, known=False))
    signed = sign_order(order(), ALICE)
    worker.sync.offer(signed)
    assert len(worker.orders) == 0
    worker.config.adopt(with_operator(worker.state_dir))
    worker.sync.configuration_changed([])
    worker.sync.offer(signed)
    assert len(worker.orders) == 1


async def test_an_order_from_the_feed_is_stored_and_reported(worker: Worker) -> None:
    """A restart applies it again, without Redis."""
    signed = sign_order(order(), ALICE)
    worker.feed[order().order_id] = signed
    async with worker.running():
        await worker.one_poll()
        await worker.one_poll()
    assert worker.adopted == [order().hex_id]
    restarted = Worker(worker.state_dir)
    restarted.sync.start()
    assert restarted.orders.signed_orders("acme") == (signed,)


async def test_an_order_that_cannot_be_stored_is_applied_and_tried_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once and counted until it is on disk."""
    not_kept = "sigmill_stop_orders_not_kept"

    worker.feed[order().order_id] = sign_order(order(), ALICE)
    async with worker.running():
        with monkeypatch.context() as disk:
            disk.setattr(stop_orders, "make_folder", no_space)
            for _ in range(3):
                await worker.one_poll()
            assert len(worker.orders) == 1
            assert worker.registry.get_sample_value(not_kept) == 1
        for _ in range(2):
            await worker.one_poll()
    assert worker.registry.get_sample_value(not_kept) == 0
    assert [record.message for record in caplog.records].count("order.not_kept") == 1


async def test_an_order_is_reported_when_all_lanes_apply_it(worker: Worker) -> None:
    """Until then the operator's command waits."""
    worker.lanes_confirm = False
    worker.sync.offer(sign_order(order(), ALICE))
    async with worker.running():
        await worker.one_poll()
        assert worker.adopted == []
        worker.lanes_confirm = True
        await worker.one_poll()
    assert worker.adopted == [order().hex_id]


async def test_an_order_that_redis_lost_is_published_again(worker: Worker) -> None:
    """Other hosts may not have it yet."""
    signed = sign_order(order(), ALICE)
    worker.sync.offer(signed)
    async with worker.running():
        await worker.one_poll()
    assert worker.feed == {order().order_id: signed}


async def test_an_outage_of_redis_is_waited_out(worker: Worker) -> None:
    """It ends with the next poll that is answered."""
    worker.redis_away = True
    async with worker.running():
        await worker.one_poll()
        assert not worker.sync.redis_answers
        worker.redis_away = False
        await worker.one_poll()
        assert worker.sync.redis_answers


async def test_an_order_is_in_the_log_once(worker: Worker) -> None:
    """With its operator and its scope; an order that was known before the restart is not recorded again."""
    worker.feed[order().order_id] = sign_order(order(), ALICE)
    async with worker.running():
        await worker.one_poll()
        await worker.one_poll()
    (record,) = worker.log.durable
    assert isinstance(record, StopOrderRecord)
    assert (record.tenant, record.order_id, record.operator) == ("acme", order().order_id, "alice")
    assert record.scope == "tenant"
    restarted = Worker(worker.state_dir)
    restarted.sync.start()
    async with restarted.running():
        await turn()
    assert restarted.log.durable == []


async def test_an_order_that_the_log_did_not_take_comes_into_it_after_a_crash(worker: Worker) -> None:
    """A restart takes it for known, since the folder has it; its record waits in the spool."""
    worker.log.failures = 1000
    worker.feed[order().order_id] = sign_order(order(), ALICE)
    async with worker.running():
        await worker.one_poll()
        await worker.one_poll()
    assert (worker.log.durable, worker.log.noted, worker.adopted) == ([], [], [order().hex_id])
    restarted = Worker(worker.state_dir)
    restarted.sync.start()
    assert len(restarted.orders) == 1
    await EventCollector(restarted.config, restarted.log.wal).collect()
    (record,) = restarted.log.durable
    assert isinstance(record, StopOrderRecord)
    assert (record.tenant, record.order_id, record.operator) == ("acme", order().order_id, "alice")


async def test_an_order_whose_record_nothing_takes_is_kept_and_recorded_later(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in force, and on the disk; at the latest the closing of the log writes its record."""

    worker.log.failures = 1000
    worker.feed[order().order_id] = sign_order(order(), ALICE)
    with monkeypatch.context() as disk:
        disk.setattr(EventSpool, "put", no_space)
        async with worker.running():
            await worker.one_poll()
            await worker.one_poll()
        assert [type(record) for record in worker.log.noted] == [StopOrderRecord]
        worker.log.noted.clear()
        async with worker.running():
            await worker.one_poll()
            worker.log.failures = 0
            await worker.one_poll()
    assert ([type(record) for record in worker.log.durable], worker.log.noted) == ([StopOrderRecord], [])
    restarted = Worker(worker.state_dir)
    restarted.sync.start()
    assert len(restarted.orders) == 1
