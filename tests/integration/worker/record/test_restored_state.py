"""A state directory that is restored from a backup forks no origin: the log's newest head in Redis tells that it is older."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from queueing.protocol import keyspace
from queueing.transparency.checkpoints import Checkpoint
from queueing.transparency.notes import ECDSA, VerifierKey, read_note
from queueing.transparency.signed_heads import read_signed_head
from tests.integration.worker.record.test_record import RECORD, log_of, newest, sealed_signatures, statements
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.waiting import until_async
from workers.dev.tenants import AUDIENCE, SERVICE_KEY_LABEL
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.record.exchange import STATEMENTS
from workers.record.folder import LOGS_NAME
from workers.record.replacement import former_records


async def sign(rig: Rig, signatures: int) -> None:
    """Sign, until the running sealer has sealed it and its key is certified."""
    async with rig.client() as client:
        made = [await client.sign("release", os.urandom(32), timeout_s=60) for _ in range(signatures)]
    wanted = {hashlib.sha256(each.signature).digest() for each in made}
    await until_async(lambda: sealed_signatures(rig) >= wanted, "the signatures are sealed")
    await until_async(lambda: certified_now(rig), "the epoch key is certified")


async def end(worker: WorkerProcess) -> None:
    os.kill(worker.pid, signal.SIGTERM)
    await until_async(lambda: not worker.alive, "the worker ends")


async def head_in_redis(rig: Rig, origin: str) -> Checkpoint | None:
    """Head of acme's log of this name, verified by the service's public key."""
    redis = rig.connect()
    value = await redis.get(keyspace.record_head("acme", origin[-16:]))
    await redis.aclose()
    if value is None:
        return None
    spki = rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki
    service = VerifierKey(f"sigmill/{AUDIENCE}/service", ECDSA, spki)
    return read_signed_head(value).verify(service, audience=AUDIENCE, origin=origin)


async def run_once(rig: Rig, signatures: int) -> Checkpoint:
    """Run a worker that signs, until its key is certified, and end it; returns the last head of acme's log."""
    worker = rig.start_worker()
    await sign(rig, signatures)
    await end(worker)
    head = newest(rig)
    assert head is not None
    return head


def certified_now(rig: Rig) -> bool:
    """Whether the service key has certified the key of acme's newest checkpoint."""
    head = newest(rig)
    if head is None:
        return False
    note = read_note((log_of(rig) / "checkpoint").read_bytes())
    return any(each.epoch_key.is_signed(note) for each in statements(rig))


def start_sealer(rig: Rig) -> subprocess.Popen[bytes]:
    """A sealer as a host starts it."""
    place = ["--state-dir", str(rig.state_dir()), "--log-name", f"sigmill/{AUDIENCE}"]
    command = [sys.executable, "-I", "-m", "workers.cli", "sealer", *place]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def names_of(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_a_restored_state_directory_forks_no_origin(make_rig: MakeRig, tmp_path: Path) -> None:
    """It gets a new origin, which follows the old one at the head that Redis knows; of the old one nothing more is certified."""
    rig = make_rig(service=RECORD)
    older = await run_once(rig, 3)
    shutil.copytree(rig.state_dir(), tmp_path / "backup")
    known = await run_once(rig, 5)
    assert known.origin == older.origin
    assert known.size > older.size
    assert await head_in_redis(rig, known.origin) == known, (
        "the last head is published before the worker ends"
    )
    shutil.rmtree(rig.state_dir())
    shutil.copytree(tmp_path / "backup", rig.state_dir())
    certified = names_of(log_of(rig) / STATEMENTS)

    worker = rig.start_worker()
    await sign(rig, 2)
    await until_async(lambda: worker.metric("sigmill_record_former") == 1, "the older copy is given up")
    head = newest(rig)
    assert head is not None
    assert head.origin != known.origin
    assert {each.follows for each in statements(rig)} == {known}
    (former,) = former_records(rig.state_dir())
    assert names_of(former / LOGS_NAME / "acme" / STATEMENTS) == certified
    assert await head_in_redis(rig, known.origin) == known
    assert worker.metric("sigmill_record_failures_total", reason="set_back") == 1
    assert worker.events("record.set_back") == 1
    await end(worker)
    assert await head_in_redis(rig, head.origin) == newest(rig)


async def test_a_redis_that_has_lost_its_data_stops_no_certification(make_rig: MakeRig) -> None:
    """Without a head there is nothing to compare with; the same origin continues, and Redis has its head again."""
    rig = make_rig(service=RECORD)
    before = await run_once(rig, 1)
    rig.redis.flush()
    head = await run_once(rig, 1)
    assert head.origin == before.origin
    assert former_records(rig.state_dir()) == []
    assert await head_in_redis(rig, head.origin) == head


async def test_heads_are_published_again_when_redis_is_back(make_rig: MakeRig) -> None:
    """The worker and its sealer continue meanwhile."""
    rig = make_rig(service=RECORD, appendonly=True)
    worker = rig.start_worker()
    await sign(rig, 1)
    rig.redis.kill()
    EventSpool(rig.state_dir()).put(KeyRecord(1, "acme", "rotated", "release", 2, by="anna"))
    await until_async(lambda: worker.events("record.heads_unpublished") > 0, "it is told")
    rig.redis.start()
    await sign(rig, 1)
    await end(worker)
    head = newest(rig)
    assert head is not None
    assert await head_in_redis(rig, head.origin) == head


async def test_nothing_is_certified_while_redis_is_away(make_rig: MakeRig) -> None:
    """Sealing continues; a sealer that starts meanwhile has its key certified when Redis is back."""
    rig = make_rig(service=RECORD + 'process = "own"\n')
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
    rig.redis.kill()
    sealer = start_sealer(rig)
    try:
        await until_async(lambda: newest(rig) is not None, "the sealer seals")
        await until_async(lambda: worker.events("record.not_certified") > 0, "it is told")
        assert statements(rig) == []
        rig.redis.start()
        await until_async(lambda: certified_now(rig), "the epoch key is certified")
    finally:
        sealer.terminate()
        await asyncio.to_thread(sealer.wait)
    await end(worker)
