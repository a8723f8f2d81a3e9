"""The record beside a real worker: what is signed is sealed, proven and certified, and killing the sealer loses nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from pathlib import Path

from queueing.transparency.checkpoints import Checkpoint, read_checkpoint, verify_checkpoint
from queueing.transparency.entries import Entry, decode_entry
from queueing.transparency.event_entries import LaneEndedEntry, LaneOperationsEntry, LoginEntry
from queueing.transparency.merkle import leaf_hash
from queueing.transparency.notes import ECDSA, VerifierKey, read_note
from queueing.transparency.origin_statements import OriginStatement, verify_statement
from queueing.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from tests.support.rig.processes import command_of, descendants
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.waiting import until_async
from workers.dev.tenants import AUDIENCE, SERVICE_KEY_LABEL
from workers.journal.acknowledged import read_acknowledged
from workers.journal.event_records import KeyRecord, LoginRecord
from workers.journal.event_spool import EventSpool
from workers.record.exchange import read_status
from workers.record.folder import log_folder, read_sealed
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes

RECORD = "\n[record]\nenabled = true\n"


def sealer_of(worker: WorkerProcess) -> int | None:
    for pid in descendants(worker.pid):
        if "sealer" in command_of(pid):
            return pid
    return None


def log_of(rig: Rig, tenant: str = "acme") -> Path:
    return log_folder(rig.state_dir(), tenant)


def newest(rig: Rig) -> Checkpoint | None:
    try:
        return read_checkpoint(read_note((log_of(rig) / "checkpoint").read_bytes()).text)
    except FileNotFoundError:
        return None


def sealed_signatures(rig: Rig) -> set[bytes]:
    """SHA-256 of every signature in the items below the newest checkpoint."""
    head = newest(rig)
    if head is None:
        return set()
    stored = StoredEntries(log_of(rig), head.size)
    return {signature for row in stored.rows(0) for signature in row.signatures if signature}


def statements(rig: Rig) -> list[OriginStatement]:
    """Verified by the service key and nothing else."""
    head = newest(rig)
    folder = log_of(rig) / "statements"
    if head is None or not folder.is_dir():
        return []
    spki = rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki
    service = VerifierKey(f"sigmill/{AUDIENCE}/service", ECDSA, spki)
    return [verify_statement(file.read_bytes(), [service], head.origin) for file in sorted(folder.iterdir())]


async def test_what_is_signed_is_under_a_checkpoint_whose_key_the_service_key_has_certified(
    make_rig: MakeRig,
) -> None:
    """Offline, from the service key to each entry; the lag and the counts are in the worker's metrics."""
    rig = make_rig(service=RECORD)
    worker = rig.start_worker()
    async with rig.client() as client:
        signatures = [await client.sign("release", os.urandom(32), timeout_s=60) for _ in range(3)]
    wanted = {hashlib.sha256(each.signature).digest() for each in signatures}
    await until_async(lambda: sealed_signatures(rig) >= wanted, "the signatures are sealed")
    await until_async(lambda: bool(statements(rig)), "the epoch key is certified")
    (statement,) = statements(rig)
    note = (log_of(rig) / "checkpoint").read_bytes()
    head = verify_checkpoint(note, [statement.epoch_key], statement.head.origin)
    hashes = StoredHashes(log_of(rig))
    for index, entry in StoredEntries(log_of(rig), head.size).entries(0):
        verify_inclusion(
            leaf_hash(entry), index, head.size, inclusion_proof(hashes, index, head.size), head.root
        )
    assert (statement.audience, statement.follows) == (AUDIENCE, None)
    await until_async(
        lambda: worker.metric("sigmill_record_entries_total", tenant="acme") >= 10, "it is counted"
    )
    await until_async(
        lambda: worker.metric("sigmill_record_uncertified") == 0, "nothing waits for the service key"
    )
    assert worker.metric("sigmill_record_lag_seconds") < 30
    assert worker.metric("sigmill_record_failures_total") == 0
    worker.child.terminate()
    await until_async(lambda: not worker.alive, "the worker ends")


def recorded(rig: Rig) -> dict[str, list[Entry]]:
    """Entries below the newest checkpoint, by kind."""
    head = newest(rig)
    found: dict[str, list[Entry]] = {}
    for _, data in StoredEntries(log_of(rig), 0 if head is None else head.size).entries(0):
        entry = decode_entry(data)
        assert entry is not None
        found.setdefault(entry.kind, []).append(entry)
    return found


async def test_events_that_are_no_job_are_in_the_record(make_rig: MakeRig) -> None:
    """Beside a running worker a command's event too; the lane's calls are as many as the token was asked for."""
    rig = make_rig(service=RECORD)
    worker = rig.start_worker()
    async with rig.client() as client:
        for _ in range(5):
            await client.sign("release", os.urandom(32), timeout_s=60)
    login = LoginRecord(1, "acme", "acme", "accepted", "command of anna")
    rotated = KeyRecord(1, "acme", "rotated", "release", 2, by="anna")
    await asyncio.to_thread(EventSpool(rig.state_dir()).put, login, rotated)
    await until_async(lambda: "key" in recorded(rig), "the event of the command is sealed")
    os.kill(worker.pid, signal.SIGTERM)
    await until_async(lambda: not worker.alive, "the worker ends")
    found = recorded(rig)
    assert {"config", "login", "lane-started", "directory", "lane-operations"} <= found.keys()
    assert {each.by for each in found["login"] if isinstance(each, LoginEntry)} == {"lane", "command of anna"}
    (end,) = found["lane-ended"]
    assert isinstance(end, LaneEndedEntry)
    assert (end.calls, end.in_doubt, end.reason) == (5, 0, "asked")
    operations = [
        each
        for entry in found["lane-operations"]
        if isinstance(entry, LaneOperationsEntry)
        for each in entry.operations
    ]
    assert operations == [("release", 1, 5)]
    assert len(EventSpool(rig.state_dir())) == 0


async def test_a_worker_that_drains_waits_until_its_sealer_has_sealed_all(make_rig: MakeRig) -> None:
    """The record of a host that is switched off lacks nothing, and no sealer is left that a next worker would meet."""
    rig = make_rig(service=RECORD)
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        await until_async(lambda: sealer_of(worker) is not None, "a sealer runs")
        pid = sealer_of(worker)
        for _ in range(5):
            await client.sign("release", os.urandom(32), timeout_s=60)
    os.kill(worker.pid, signal.SIGTERM)
    await until_async(lambda: not worker.alive, "the worker ends")
    assert not Path(f"/proc/{pid}").exists()
    sealed, durable = read_sealed(rig.state_dir() / "record"), read_acknowledged(rig.state_dir() / "wal")
    assert sealed is not None
    assert durable is not None
    assert (sealed.place.segment, sealed.place.offset) == tuple(durable)


async def test_a_sealer_that_is_killed_again_and_again_loses_and_changes_nothing(make_rig: MakeRig) -> None:
    """Every checkpoint that anybody saw is a prefix of the last one, and every signature is in its items."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    rig = make_rig(service=RECORD)
    worker = rig.start_worker()
    seen: dict[int, bytes] = {}
    wanted: set[bytes] = set()
    kills = 0

    def look() -> bool:
        head = newest(rig)
        if head is not None:
            assert seen.setdefault(head.size, head.root) == head.root, f"seed {seed}"
        return sealed_signatures(rig) >= wanted

    async with rig.client() as client:
        for _ in range(12):
            for _ in range(chance.randrange(1, 4)):
                made = await client.sign("release", os.urandom(32), timeout_s=60)
                wanted.add(hashlib.sha256(made.signature).digest())
                look()
            pid = sealer_of(worker)
            if pid is not None and chance.random() < 0.8:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            else:
                await until_async(look, "the signatures are sealed")
    await until_async(look, "the signatures are sealed after all kills")
    last = newest(rig)
    assert last is not None
    assert kills
    hashes = StoredHashes(log_of(rig))
    for size, root in seen.items():
        verify_consistency(size, root, last.size, last.root, consistency_proof(hashes, size, last.size))
    status = read_status(rig.state_dir())
    assert status is not None
    assert status.former == 0, "no kill is damage"
