"""Kills of worker and sealer at random moments, under load: every checkpoint that anybody saw is a prefix of the last one.

    python -m tests.faults.record_kills --kills 200

The sealer is a process of its own here (``[record] process = "own"``), so that it is killed apart from the worker. There are three
kinds of kill: of the sealer at a random time, of the sealer as it enters one of the system calls by which it keeps what it has sealed
(strace; in its start, in a checkpoint, or in the end of a segment or of the process, when all is made durable), and of
the worker, every second time together with the sealer. Where ptrace is forbidden the second kind is a random time, too, and
the summary says so. At the end
every signature that a client got is in the items, and no record was given up. Each tenant's record is exported then, and verified as an
auditor does who kept every checkpoint that was seen: by the service's public key and those of the clients.
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
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from queueing.client.signing_client import SigningClient
from queueing.errors import SigningError
from queueing.protocol.client_keys import ClientPublicKey
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.notes import read_note
from queueing.transparency.proofs import consistency_proof, verify_consistency
from tests.faults.harness.harness import ROOT, Harness, eventually
from tests.faults.harness.tokens import TENANTS
from tests.faults.summary import say
from tests.support.disk.disks import can_trace
from tests.support.tools import tool
from workers.dev.tenants import AUDIENCE, CLIENT, SERVICE_KEY_LABEL
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.exchange import StatementRequests, read_status
from workers.record.folder import log_folder
from workers.record.replacement import former_records
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes

WORKER_SHARE = 0.25
"""Of the kills: a worker takes some seconds to come back."""

CALL_SHARE = 0.4
"""Of the kills: at a system call."""

CALLS = {
    "truncate": "truncate,ftruncate",
    "write": "write",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "rename": "rename,renameat,renameat2",
}
"""By which a sealer cuts its files at a start, appends to them, makes them durable, and replaces `checkpoint` and `sealed`."""

MOST_CALLS = 12
"""The call at which it is killed is one of the first so many of its kind: those of three tenants in a step, or in an end."""

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


@dataclass(slots=True)
class Sealer:
    """The sealer of a state directory, started again after each kill. ``killed``: numbers of kills, by their time in words."""

    state_dir: Path
    log: Path
    killed: Counter[str] = field(default_factory=Counter)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, tracer: Sequence[str] = ()) -> None:
        """Start one as a host does; ``tracer``: words before the command, which do not change the process id."""
        place = ["--state-dir", str(self.state_dir), "--log-name", f"sigmill/{AUDIENCE}"]
        command = [*tracer, sys.executable, "-m", "workers.cli", "sealer", *place]
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=ROOT
            )

    async def begun(self) -> bool:
        """Wait until it has signed; False where it has ended before."""
        await eventually(
            lambda: has_started(self.state_dir, self.process.pid) or self.process.poll() is not None,
            "the sealer has begun",
        )
        return self.process.poll() is None

    def kill(self, when: str = "at a random time") -> None:
        """SIGKILL, and start the next one."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.killed[when] += 1
        self.start()

    async def kill_at_call(self, call: str, number: int, pause_s: float) -> None:
        """Let one die as it enters its ``number``-th call of a kind, at the latest those of its orderly end; then start the next one.

        Nothing is counted where it made fewer calls of the kind.
        """
        self.stop()
        tracing = [
            f"trace={CALLS[call]}",
            f"inject={CALLS[call]}:signal=SIGKILL:when={number}",
        ]
        options = [word for each in tracing for word in ("-e", each)]
        self.start([tool("strace"), "-D", "-f", "-qq", "-o", os.devnull, *options])
        if await self.begun():
            await asyncio.sleep(pause_s)
            self.process.terminate()
        await eventually(lambda: self.process.poll() is not None, "the sealer has ended")
        if self.process.returncode == -signal.SIGKILL:
            self.killed[f"at {call}"] += 1
        self.start()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        self.process.wait()


async def run(folder: Path, kills: int, seed: int) -> None:
    """Kill, and judge. Raises ``AssertionError`` with what is wrong."""
    chance, seen = random.Random(seed), Seen()
    with Harness.open(folder) as harness:
        harness.rig.service = SETTINGS
        state_dir = harness.rig.state_dir(1)
        await harness.start_worker(1)
        sealer = Sealer(state_dir, folder / "sealer.log")
        sealer.start()
        ended = asyncio.Event()
        try:
            clients = [each[0] for each in harness.clients().values()]
            async with asyncio.TaskGroup() as tasks:
                for tenant, client in zip(TENANTS, clients, strict=True):
                    tasks.create_task(sign(client, seen.signatures[tenant], ended))
                tasks.create_task(watch(state_dir, seen, ended))
                workers = 0
                while workers + sealer.killed.total() < kills:
                    kind = chance.random()
                    if kind < CALL_SHARE and can_trace():
                        call, number = chance.choice(sorted(CALLS)), chance.randint(1, MOST_CALLS)
                        await sealer.kill_at_call(call, number, chance.uniform(*PAUSE_S))
                        continue
                    if chance.random() < STARTED_SHARE:
                        await sealer.begun()
                    await asyncio.sleep(chance.uniform(*PAUSE_S))
                    if kind > 1 - WORKER_SHARE:
                        workers += 1
                        if workers % 2:
                            sealer.kill("with the worker")
                        await harness.kill_worker(1)
                        await harness.start_worker(1)
                    else:
                        sealer.kill()
                ended.set()
            await eventually(lambda: all_sealed(state_dir, seen), "every signature is sealed")
            assert await sealer.begun(), "the last sealer has ended"
            await eventually(lambda: not StatementRequests(state_dir), "every key is certified")
            seen.look(state_dir)
        finally:
            sealer.stop()
        await harness.stop_worker(1)
        clients_of = {
            name: {CLIENT: ClientPublicKey.from_spki(key.public_spki)}
            for name, key in harness.rig.keys.items()
        }
        service_key = harness.rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki
        exported = verify_exports(state_dir, folder / "exports", seen, service_key, clients_of)
    checkpoints, signatures = judge(state_dir, seen)
    say(
        f"seed {seed}: {sealer.killed.total()} kills of the sealer ({told(sealer.killed)}), {workers} of the worker;"
        f" {checkpoints} checkpoints are prefixes of the last, {signatures} signatures are in the items;"
        f" the exports of {len(TENANTS)} tenants hold against all of them, with {exported} signatures"
    )


def told(killed: Counter[str]) -> str:
    """The kills of the sealer in words."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(killed.items()))
    return kinds if can_trace() else f"{kinds}; none at a system call, ptrace is forbidden here"


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


def verify_exports(
    state_dir: Path,
    out: Path,
    seen: Seen,
    service_key: bytes,
    clients: dict[str, dict[str, ClientPublicKey]],
) -> int:
    """Export the record of each tenant, and verify it against all checkpoints that were seen; returns the number of signatures.

    Raises ``AssertionError`` with the first problem.
    """
    signatures = 0
    for tenant, roots in seen.roots.items():
        log = log_folder(state_dir, tenant)
        head = export(log, out / tenant).checkpoint
        kept = [Checkpoint(head.origin, size, root) for size, root in roots.items()]
        (origin,) = origins_of(out / tenant)
        verifier = OriginVerifier(
            origin, service_keys=[service_key], clients=clients[tenant], tenant=tenant, kept=kept
        )
        for problem in verifier.run():
            raise AssertionError(f"the export of {tenant}: {problem}")
        assert verifier.verified.signatures >= len(seen.signatures[tenant]), f"{tenant} got more signatures"
        signatures += verifier.verified.signatures
    return signatures


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
