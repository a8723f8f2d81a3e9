"""Receipts of the sealer reach Redis once, and a tenant whose Redis is away holds up no other."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.broker.receipts import JobReceipt
from queueing.errors import QueueUnavailable
from queueing.protocol.jobs import job_id_of, tenant_of_job_id
from tests.support.fakes.configurations import configuration
from workers.background.record import receipt_publisher as module
from workers.background.record.receipt_publisher import ReceiptPublisher
from workers.current_config import CurrentConfig
from workers.record.receipts.outbox import OutboxFile, ReceiptOutbox, SealedReceipt
from workers.telemetry.metrics import Metrics

NOW_MS = 1_764_244_800_000


def receipt(tenant: str, number: int, *, at_ms: int = NOW_MS) -> SealedReceipt:
    job_id = job_id_of(tenant, number.to_bytes(16))
    return SealedReceipt(job_id=job_id, at_ms=at_ms, released=True, proof=b"proof %d" % number)


@dataclass
class Host:
    """A worker's publisher, over a Redis of which the shards of ``away`` do not answer."""

    publisher: ReceiptPublisher
    outbox: ReceiptOutbox
    metrics: Metrics
    away: set[str] = field(default_factory=set)
    sent: list[bytes] = field(default_factory=list)
    tried: int = 0

    async def publish(self, _: Redis, receipts: Sequence[JobReceipt], *, retention_ms: int) -> None:
        self.tried += 1
        assert retention_ms == 3_600_000
        if tenant_of_job_id(receipts[0].job_id) in self.away:
            raise QueueUnavailable
        self.sent += [each.proof for each in receipts]

    async def step(self, now_s: float = 0.0) -> None:
        await self.publisher.publish(now_s=now_s, now_ms=NOW_MS)

    @property
    def dropped(self) -> float:
        return self.metrics.record_failures.labels("receipt")._value.get()  # type: ignore[no-any-return]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    config = configuration(state_dir=tmp_path)
    metrics = Metrics(CollectorRegistry())
    publisher = ReceiptPublisher(cast("Redis", None), CurrentConfig(config), metrics)
    made = Host(publisher, ReceiptOutbox(tmp_path), metrics)
    monkeypatch.setattr(module, "publish", made.publish)
    return made


async def test_what_the_sealer_has_made_is_published_in_order_and_removed(host: Host) -> None:
    host.outbox.put("acme", [receipt("acme", 1), receipt("acme", 2)])
    host.outbox.put("b", [receipt("b", 3)])
    await host.step()
    assert host.sent == [b"proof 1", b"proof 2", b"proof 3"]
    assert host.outbox.files() == []
    assert host.dropped == 0


async def test_a_shard_that_is_away_holds_up_its_own_tenants_only(host: Host) -> None:
    """It is asked again after a pause, not with each round, and then nothing is missing."""
    host.away = {"acme"}
    host.outbox.put("acme", [receipt("acme", 1)])
    host.outbox.put("acme", [receipt("acme", 2)])
    host.outbox.put("b", [receipt("b", 3)])
    await host.step(now_s=100.0)
    await host.step(now_s=100.1)
    assert (host.sent, host.tried) == ([b"proof 3"], 2)
    host.away = set()
    await host.step(now_s=200.0)
    assert host.sent == [b"proof 3", b"proof 1", b"proof 2"]
    assert host.outbox.files() == []


async def test_a_receipt_whose_result_has_gone_is_dropped(host: Host) -> None:
    """So an outage of days leaves no file."""
    host.outbox.put("acme", [receipt("acme", 1, at_ms=NOW_MS - 3_600_001), receipt("acme", 2)])
    await host.step()
    assert host.sent == [b"proof 2"]
    assert host.dropped == 1
    assert host.outbox.files() == []


async def test_a_receipt_is_published_under_its_own_tenant_only(host: Host) -> None:
    host.outbox.put("acme", [receipt("b", 1), receipt("acme", 2)])
    await host.step()
    assert host.sent == [b"proof 2"]


async def test_a_file_that_cannot_be_read_costs_itself(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also a folder in its place, which stays, and is logged once."""
    folder = tmp_path / "sealer" / "receipts"
    (folder / f"{0:020d}+acme").mkdir(parents=True)
    (folder / f"{1:020d}+acme").write_bytes(b"nonsense")
    host.outbox.put("acme", [receipt("acme", 1)])
    for _ in range(3):
        await host.step()
    assert host.sent == [b"proof 1"]
    assert [file.path.is_dir() for file in host.outbox.files()] == [True]
    assert [record.message for record in caplog.records] == ["record.receipts_invalid"] * 2


async def test_a_file_that_cannot_be_removed_holds_up_its_own_tenant_only(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.outbox.put("acme", [receipt("acme", 1)])
    host.outbox.put("b", [receipt("b", 2)])
    real = OutboxFile.remove

    def remove(file: OutboxFile) -> None:
        if file.tenant == "acme":
            raise PermissionError(errno.EACCES, "Permission denied")
        real(file)

    with monkeypatch.context() as disk:
        disk.setattr(OutboxFile, "remove", remove)
        for now_s in (100.0, 100.1):
            await host.step(now_s)
    assert host.sent == [b"proof 1", b"proof 2"]
    await host.step(200.0)
    assert host.outbox.files() == []


async def test_a_disk_that_fails_for_a_moment_costs_no_receipt(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a process without a free descriptor."""
    causes = [errno.EMFILE, errno.EIO]

    def read(_: OutboxFile) -> list[SealedReceipt]:
        cause = causes.pop()
        raise OSError(cause, os.strerror(cause))

    host.outbox.put("acme", [receipt("acme", 1)])
    with monkeypatch.context() as disk:
        disk.setattr(OutboxFile, "read", read)
        await host.step(100.0)
        await host.step(200.0)
    assert (host.sent, causes) == ([], [])
    await host.step(300.0)
    assert (host.sent, host.dropped) == ([b"proof 1"], 0)
