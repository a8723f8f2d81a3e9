"""Kills of worker and sealer at random moments, under load: every checkpoint that anybody saw is a prefix of the last one.

    python -m tests.faults.record_kills --kills 200

The sealer is a process of its own here (``[record] process = "own"``), so that it is killed apart from the worker. At the end
every signature that a client got is in the items, no record was given up, and the export holds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from queueing.client.signing_client import SigningClient
from queueing.errors import SigningError
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.notes import read_note
from queueing.transparency.proofs import consistency_proof, verify_consistency
from tests.faults.harness.harness import ROOT, Harness, eventually
from tests.faults.harness.tokens import TENANTS
from tests.faults.summary import say
from workers.dev.tenants import AUDIENCE
from workers.record.exchange import read_status
from workers.record.folder import log_folder
from workers.record.replacement import former_records
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes

WORKER_SHARE = 0.25
"""Of the kills: a worker takes some seconds to come back."""

STARTED_SHARE = 0.7
"""Of the kills: after the sealer's first status; others may meet it in its start."""

SETTINGS = '\n[record]\nenabled = true\nprocess = "own"\n'
PAUSE_S = (0.2, 2.5)
"""Between two kills: from before a sealer has read anything to after several checkpoints."""


@dataclass(slots=True)
class Seen:
    """Roots of every checkpoint that was seen, by tenant and size; hashes of the signatures that clients got, by tenant."""

    roots: dict[str, dict[int, bytes]] = field(default_factory=lambda: {tenant: {} for tenant in TENANTS})
    signatures: dict[str, set[bytes]] = field(default_factory=lambda: {tenant: set() for tenant in TENANTS})

    def look(self, state_dir: Path) -> None:
        """Note the present checkpoint of each tenant. Raises ``AssertionError`` where another root has its size."""
        for tenant, roots in self.roots.items():
            head = newest(state_dir, tenant)
            if head is not None:
                assert roots.setdefault(head.size, head.root) == head.root, f"two logs of {head.size} entries"


def newest(state_dir: Path, tenant: str) -> Checkpoint | None:
    """The checkpoint of a tenant as it is on the disk."""
    try:
        data = (log_folder(state_dir, tenant) / "checkpoint").read_bytes()
    except FileNotFoundError:
        return None
    return read_checkpoint(read_note(data).text)


def has_started(state_dir: Path, pid: int) -> bool:
    """Whether this sealer has told its status, and so has signed."""
    status = read_status(state_dir)
    return status is not None and status.pid == pid


def start_sealer(state_dir: Path, log: Path) -> subprocess.Popen[bytes]:
    """A sealer as a host starts it."""
    place = ["--state-dir", str(state_dir), "--log-name", f"sigmill/{AUDIENCE}"]
    command = [sys.executable, "-m", "workers.cli", "sealer", *place]
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=ROOT)


async def run(folder: Path, kills: int, seed: int) -> None:
    """Kill, and judge. Raises ``AssertionError`` with what is wrong."""
    chance, seen = random.Random(seed), Seen()
    with Harness.open(folder) as harness:
        harness.rig.service = SETTINGS
        state_dir = harness.rig.state_dir(1)
        await harness.start_worker(1)
        sealer = start_sealer(state_dir, folder / "sealer.log")
        ended = asyncio.Event()
        try:
            clients = [each[0] for each in harness.clients().values()]
            async with asyncio.TaskGroup() as tasks:
                for tenant, client in zip(TENANTS, clients, strict=True):
                    tasks.create_task(sign(client, seen.signatures[tenant], ended))
                tasks.create_task(watch(state_dir, seen, ended))
                counted = {"worker": 0, "sealer": 0}
                while sum(counted.values()) < kills:
                    if chance.random() < STARTED_SHARE:
                        await eventually(partial(has_started, state_dir, sealer.pid), "the sealer has begun")
                    await asyncio.sleep(chance.uniform(*PAUSE_S))
                    if chance.random() < WORKER_SHARE:
                        await harness.kill_worker(1)
                        await harness.start_worker(1)
                        counted["worker"] += 1
                    else:
                        sealer.send_signal(signal.SIGKILL)
                        sealer.wait()
                        sealer = start_sealer(state_dir, folder / "sealer.log")
                        counted["sealer"] += 1
                ended.set()
            await eventually(lambda: all_sealed(state_dir, seen), "every signature is sealed")
            seen.look(state_dir)
        finally:
            sealer.terminate()
            sealer.wait()
        await harness.stop_worker(1)
    checkpoints, signatures = judge(state_dir, seen)
    say(
        f"seed {seed}: {counted['sealer']} kills of the sealer, {counted['worker']} of the worker;"
        f" {checkpoints} checkpoints are prefixes of the last, {signatures} signatures are in the items"
    )


async def sign(client: SigningClient, signatures: set[bytes], ended: asyncio.Event) -> None:
    """One digest after another; what fails in a kill is tried again with another one."""
    async with client:
        while not ended.is_set():
            with suppress(SigningError, TimeoutError):
                made = await client.sign("release", os.urandom(32), timeout_s=20)
                signatures.add(hashlib.sha256(made.signature).digest())


async def watch(state_dir: Path, seen: Seen, ended: asyncio.Event) -> None:
    """Look at the checkpoints, many times a second."""
    while not ended.is_set():
        seen.look(state_dir)
        await asyncio.sleep(0.02)


def all_sealed(state_dir: Path, seen: Seen) -> bool:
    """Whether all signatures are below the checkpoints."""
    return all(signatures <= sealed(state_dir, tenant) for tenant, signatures in seen.signatures.items())


def sealed(state_dir: Path, tenant: str) -> set[bytes]:
    """Hashes of the signatures in the items below the newest checkpoint."""
    head = newest(state_dir, tenant)
    if head is None:
        return set()
    rows = StoredEntries(log_folder(state_dir, tenant), head.size).rows(0)
    return {signature for row in rows for signature in row.signatures if signature}


def judge(state_dir: Path, seen: Seen) -> tuple[int, int]:
    """Numbers of checkpoints and signatures that were checked. Raises ``AssertionError``, or ``ProofInvalid``."""
    assert former_records(state_dir) == [], "a kill is no damage"
    status = read_status(state_dir)
    assert status is not None
    checked = 0
    for tenant, roots in seen.roots.items():
        last = newest(state_dir, tenant)
        assert last is not None
        hashes = StoredHashes(log_folder(state_dir, tenant))
        for size, root in roots.items():
            verify_consistency(size, root, last.size, last.root, consistency_proof(hashes, size, last.size))
            checked += 1
        missing = seen.signatures[tenant] - sealed(state_dir, tenant)
        assert not missing, f"{len(missing)} signatures of {tenant} are not in the record"
    return checked, sum(map(len, seen.signatures.values()))


def main() -> None:
    """Run as a program; the folder stays where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sgk-")) / "run"
    say(f"seed {words.seed}, {folder}")
    asyncio.run(run(folder, words.kills, words.seed))


if __name__ == "__main__":
    main()
