"""A log is compared with its head in Redis: what is behind it is given up, and nothing is believed that an attacker could write there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.errors import ProofInvalid, QueueUnavailable
from queueing.protocol import keyspace
from queueing.transparency.checkpoints import Checkpoint
from tests.support.farm.certified_logs import certify, root_at
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from tests.support.heads.certified_heads import config_of, head_here, signed
from tests.support.heads.head_store import HeadStore
from workers.background.record import origin_check as module
from workers.background.record.origin_check import OriginCheck
from workers.journal.segment_writer import SegmentWriter
from workers.record.exchange import Head, SealerStatus, write_status
from workers.record.folder import log_folder
from workers.record.heads.set_back import read_set_back
from workers.telemetry.metrics import Metrics

TENANTS = ["acme", "globex"]


@dataclass
class Host:
    """A worker of two tenants with a record of seven entries each, whose sealer has read all."""

    state_dir: Path
    check: OriginCheck
    registry: CollectorRegistry
    wal: Any
    store: HeadStore = field(default_factory=HeadStore)

    @property
    def name(self) -> str:
        return self.head("acme").origin[-16:]

    def head(self, tenant: str) -> Checkpoint:
        return head_here(log_folder(self.state_dir, tenant))

    def key(self, tenant: str = "acme") -> str:
        return keyspace.record_head(tenant, self.name)

    def put(self, size: int, root: bytes | None = None, tenant: str = "acme") -> Checkpoint:
        """Have Redis hold this head, signed and certified."""
        log = log_folder(self.state_dir, tenant)
        head = Checkpoint(self.head(tenant).origin, size, root_at(log, size) if root is None else root)
        self.store.values[self.key(tenant)] = signed(log, head)
        return head

    def cover(self, covered_ns: int | None) -> None:
        write_status(self.state_dir, SealerStatus(pid=1, started_ns=1, covered_ns=covered_ns))

    async def compare(self) -> dict[str, bytes]:
        compared = await self.check.compare(self.name, TENANTS)
        assert compared.uncertain == {}
        return compared.continued

    def failures(self, reason: str) -> float:
        return self.registry.get_sample_value("sigmill_record_failures_total", {"reason": reason}) or 0.0


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(4):
        append(writer, *job(TENANTS[number % 2], number))
    seal(tmp_path)
    for tenant in TENANTS:
        certify(log_folder(tmp_path, tenant))
    registry = CollectorRegistry()
    wal: Any = SimpleNamespace(in_use="00000002.wal")
    check = OriginCheck(cast("Redis", None), config_of(tmp_path, TENANTS), wal, Metrics(registry))
    made = Host(tmp_path, check, registry, wal)
    monkeypatch.setattr(module, "read_heads", made.store.read_heads)
    return made


async def read_all(host: Host) -> None:
    """Let the worker begin its log, and its sealer read all of it."""
    await host.check.compare(host.name, TENANTS)
    host.cover(time.monotonic_ns())


@pytest.mark.parametrize("size", [1, 4, 7])
async def test_a_log_that_continues_its_head_holds(host: Host, size: int) -> None:
    host.put(size)
    assert host.head("acme").size == 7
    assert await host.compare() == {"acme": host.store.values[host.key()], "globex": b""}
    assert read_set_back(host.state_dir) is None


async def test_without_a_head_nothing_contradicts(host: Host) -> None:
    """So a Redis that has lost its data stops no certification."""
    assert await host.compare() == {"acme": b"", "globex": b""}


async def test_a_log_that_is_behind_its_head_is_to_be_given_up(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """The order names the heads that are known; it is logged and counted once."""
    await read_all(host)
    known = host.put(9, b"r" * 32)
    for _ in range(3):
        with pytest.raises(ProofInvalid, match=r"is an older copy: .* had 9 entries, and has 7 here"):
            await host.compare()
    order = read_set_back(host.state_dir)
    assert order is not None
    assert (order.name, order.heads) == (host.name, {"acme": Head.of(known)})
    assert [record.getMessage() for record in caplog.records] == ["record.set_back"]
    assert host.failures("set_back") == 1


async def test_a_log_with_another_past_is_to_be_given_up_at_once(host: Host) -> None:
    """Though it is longer than its head by now."""
    host.put(4, b"r" * 32)
    with pytest.raises(ProofInvalid, match=r"the first 4 entries of .* are other ones here"):
        await host.compare()
    assert read_set_back(host.state_dir) is not None


async def test_one_order_names_every_log_that_is_behind(host: Host) -> None:
    heads = {tenant: Head.of(host.put(4, b"r" * 32, tenant)) for tenant in TENANTS}
    with pytest.raises(ProofInvalid):
        await host.compare()
    order = read_set_back(host.state_dir)
    assert order is not None
    assert order.heads == heads


@pytest.mark.parametrize("covered", ["never", "before", "of-a-former-boot"])
async def test_a_short_log_is_not_judged_before_the_sealer_has_read_all(host: Host, covered: str) -> None:
    """A sealer that reads the write-ahead log again after a power cut has no older copy."""
    await read_all(host)
    host.put(9, b"r" * 32)
    host.cover({"never": None, "before": 1, "of-a-former-boot": time.monotonic_ns() + 10**15}[covered])
    compared = await host.check.compare(host.name, TENANTS)
    assert list(compared.uncertain) == ["acme"]
    assert "has not read the write-ahead log to its end" in str(compared.uncertain["acme"])
    assert read_set_back(host.state_dir) is None


async def test_a_short_log_is_not_judged_before_this_worker_writes_the_log(host: Host) -> None:
    """Its first segment says how much of the former one counts."""
    host.wal.in_use = ""
    host.put(9, b"r" * 32)
    host.cover(time.monotonic_ns())
    assert list((await host.check.compare(host.name, TENANTS)).uncertain) == ["acme"]


async def test_a_shard_that_is_away_leaves_its_own_tenants_uncertain(host: Host) -> None:
    host.put(4, tenant="globex")
    host.store.away = {host.key("acme")}
    compared = await host.check.compare(host.name, TENANTS)
    assert isinstance(compared.uncertain["acme"], QueueUnavailable)
    assert list(compared.continued) == ["globex"]


async def test_a_redis_that_is_away_is_an_error(host: Host) -> None:
    host.store.down = True
    with pytest.raises(QueueUnavailable):
        await host.compare()


HOSTILE = {
    "not-utf-8": b"\xff\xfe\xfd",
    "nested": b"\x91" * 8000,
    "huge": b"x" * 8193,
    "foreign-type": b"\xc1",
    "negative": msgspec.msgpack.encode(-9),
    "a-size-alone": msgspec.msgpack.encode(10**18),
    "empty-notes": msgspec.msgpack.encode([1, b"", b""]),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_value_that_is_no_head_counts_as_missing_and_is_told_once(
    host: Host, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.store.values[host.key()] = HOSTILE[name]
    host.put(4, tenant="globex")
    for _ in range(3):
        assert sorted(await host.compare()) == TENANTS
    (record,) = caplog.records
    assert record.getMessage() == "record.head_invalid"
    assert record.__dict__["tenant"] == "acme"
    assert host.failures("head") == 1


async def test_a_head_of_another_log_counts_as_missing(host: Host) -> None:
    """Of another tenant, or of the former record of this host."""
    host.put(9, b"r" * 32, tenant="globex")
    host.store.values[host.key("acme")] = host.store.values.pop(host.key("globex"))
    assert await host.compare() == {"acme": host.store.values[host.key()], "globex": b""}
    assert host.failures("head") == 1


async def test_a_log_that_another_tenant_has_no_longer_contradicts_too(host: Host) -> None:
    """The older copy is from before the first entry of that log."""
    await read_all(host)
    host.put(4, tenant="globex")
    (log_folder(host.state_dir, "globex") / "checkpoint").unlink()
    with pytest.raises(ProofInvalid, match="had 4 entries, and has 0 here"):
        await host.check.compare(host.name, TENANTS)
