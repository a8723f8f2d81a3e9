"""Certified heads reach Redis, never one that goes back; and what is there is compared before it is replaced."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.errors import ProofInvalid, QueueUnavailable
from queueing.protocol import keyspace
from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.notes import Ed25519NoteKey
from queueing.transparency.signed_heads import read_signed_head
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, run_to_end
from tests.support.heads.certified_heads import config_of, head_here, signed
from tests.support.heads.head_store import HeadStore
from workers.background.record import head_publisher as module
from workers.background.record import origin_check
from workers.background.record.head_publisher import AGAIN_S, HeadPublisher
from workers.background.record.origin_check import OriginCheck
from workers.journal.segment_writer import SegmentWriter
from workers.record.exchange import STATEMENTS
from workers.record.folder import log_folder
from workers.record.heads.certified import CertifiedHeads
from workers.record.heads.set_back import read_set_back
from workers.record.published import publish_checkpoint
from workers.record.sealer import Sealer
from workers.telemetry.metrics import Metrics


@dataclass
class Host:
    """A worker with the log of acme, certified, and its publisher."""

    state_dir: Path
    store: HeadStore
    key: Ed25519PrivateKey = EPOCH_KEY
    publisher: HeadPublisher = field(init=False)
    wal: SegmentWriter = field(init=False)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.wal = SegmentWriter(self.state_dir / "wal")
        config = config_of(self.state_dir, ["acme", "globex"])
        metrics = Metrics(CollectorRegistry())
        wal: Any = SimpleNamespace(in_use="")
        check = OriginCheck(cast("Redis", None), config, wal, metrics)
        self.publisher = HeadPublisher(cast("Redis", None), config, check, metrics)

    def sign(self, number: int, tenant: str = "acme") -> None:
        """Log a job of this number, and seal it."""
        append(self.wal, *job(tenant, number))
        sealer = Sealer(self.state_dir, log_name="sigmill/prod", build="1.0", epoch_key=self.key)
        run_to_end(sealer)
        sealer.keep()

    def log(self, tenant: str = "acme") -> Path:
        return log_folder(self.state_dir, tenant)

    def place(self, tenant: str = "acme") -> str:
        return keyspace.record_head(tenant, head_here(self.log(tenant)).origin[-16:])

    def in_redis(self, tenant: str = "acme") -> Checkpoint:
        """Verified as a stranger would."""
        value = read_signed_head(self.store.values[self.place(tenant)])
        return value.verify(SERVICE.verifier, audience="prod", origin=head_here(self.log(tenant)).origin)

    async def publish(self) -> None:
        await self.publisher.publish(self.now_s)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> HeadStore:
    made = HeadStore()
    monkeypatch.setattr(module, "replace_heads", made.replace_heads)
    monkeypatch.setattr(origin_check, "read_heads", made.read_heads)
    return made


@pytest.fixture
def host(tmp_path: Path, store: HeadStore) -> Host:
    made = Host(tmp_path / "host", store)
    made.sign(1)
    certify(made.log())
    return made


async def test_the_newest_head_is_published_as_the_log_grows(host: Host) -> None:
    for number in (2, 3):
        await host.publish()
        assert host.in_redis() == head_here(host.log())
        host.sign(number)
    await host.publish()
    assert host.in_redis().size == head_here(host.log()).size == 10


async def test_a_head_is_published_once_and_again_after_a_while(host: Host) -> None:
    """So a Redis that has lost its data has it again, though the tenant signs nothing."""
    for _ in range(3):
        await host.publish()
    assert host.store.written == [host.place()]
    host.store.values.clear()
    host.now_s = AGAIN_S
    await host.publish()
    assert host.in_redis() == head_here(host.log())


async def test_a_head_whose_key_is_not_certified_is_not_published(host: Host) -> None:
    """A fork is not certified: it does not replace the head by which it is found."""
    await host.publish()
    known = host.in_redis()
    host.key = Ed25519PrivateKey.generate()
    host.sign(2)
    await host.publish()
    assert host.in_redis() == known
    certify(host.log(), size=head_here(host.log()).size, key=host.key, name="new")
    await host.publish()
    assert host.in_redis() == head_here(host.log())


async def test_a_worker_that_is_started_again_continues_its_head(host: Host) -> None:
    await host.publish()
    again = Host(host.state_dir, host.store)
    again.sign(2)
    await again.publish()
    assert again.in_redis() == head_here(host.log())
    assert read_set_back(host.state_dir) is None


@pytest.mark.parametrize("value", [b"nonsense", b"x" * 8193, b"\xc1", b"\xff"])
async def test_a_value_that_is_no_head_is_replaced(host: Host, value: bytes) -> None:
    """No value there keeps a head out of Redis: not by a size that is larger than any."""
    host.store.values[host.place()] = value
    await host.publish()
    assert host.in_redis() == head_here(host.log())


async def test_a_head_with_more_entries_is_never_replaced(host: Host) -> None:
    """Before the sealer has read all, it may be this log's own; nothing is published under it until then."""
    ahead = Checkpoint(head_here(host.log()).origin, 99, b"r" * 32)
    host.store.values[host.place()] = signed(host.log(), ahead)
    for _ in range(3):
        with pytest.raises(ProofInvalid, match="has not read the write-ahead log to its end"):
            await host.publish()
    assert host.in_redis() == ahead


async def test_two_hosts_with_a_copy_of_one_state_directory_are_told_apart(
    host: Host, tmp_path: Path
) -> None:
    """Both began at the same head, so that both were certified: the second one to grow gives its record up."""
    await host.publish()
    shutil.copytree(host.state_dir, tmp_path / "copy")
    copy = Host(tmp_path / "copy", host.store)
    host.sign(2)
    await host.publish()
    copy.sign(3)
    with pytest.raises(ProofInvalid, match="is an older copy"):
        await copy.publish()
    assert host.in_redis() == head_here(host.log())
    assert read_set_back(copy.state_dir) is not None
    assert read_set_back(host.state_dir) is None


async def test_a_shard_that_is_away_holds_up_its_own_tenants_only(host: Host) -> None:
    host.sign(2, "globex")
    certify(host.log("globex"))
    host.store.away = {host.place()}
    with pytest.raises(QueueUnavailable):
        await host.publish()
    assert host.in_redis("globex") == head_here(host.log("globex"))
    host.store.away = set()
    await host.publish()
    assert host.in_redis() == head_here(host.log())


async def test_a_log_that_cannot_be_read_holds_up_its_own_tenant_only(host: Host) -> None:
    host.sign(2, "globex")
    certify(host.log("globex"))
    (host.log() / "checkpoint").write_bytes(b"nonsense")
    with pytest.raises(ProofInvalid):
        await host.publish()
    assert host.in_redis("globex") == head_here(host.log("globex"))


async def test_a_record_of_another_name_is_not_published(host: Host) -> None:
    """`[record] name` was changed: the sealer gives it up."""
    origin = "other/acme/0123456789abcdef"
    shutil.rmtree(host.log() / STATEMENTS)
    head = replace(head_here(host.log()), origin=origin)
    publish_checkpoint(host.log(), sign_checkpoint(head, Ed25519NoteKey(origin, EPOCH_KEY)))
    certify(host.log(), root=b"r" * 32, origin=origin)
    assert CertifiedHeads(host.log().parent).read("acme") is not None
    await host.publish()
    assert host.store.values == {}


async def test_before_the_first_log_nothing_is_published(tmp_path: Path, store: HeadStore) -> None:
    await Host(tmp_path, store).publish()
    assert store.sent == 0


async def test_heads_are_published_when_redis_is_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage ends nothing but a try."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    host.store.down = True
    running = asyncio.ensure_future(host.publisher.run())
    async with asyncio.timeout(10):
        await host.store.thrice.wait()
        host.store.down = False
        await host.store.replaced.wait()
    running.cancel()
    await asyncio.wait({running})
    assert host.in_redis() == head_here(host.log())


async def test_the_last_heads_are_published_at_the_end_whatever_redis_does(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await host.publisher.close(60.0)
    assert host.in_redis() == head_here(host.log())
    host.sign(2)
    host.store.down = True
    await host.publisher.close(60.0)
    assert [record.getMessage() for record in caplog.records] == ["record.heads_unpublished"]
