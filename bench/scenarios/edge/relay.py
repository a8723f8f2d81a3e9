"""The relay beside Redis: the same clients, keys and workers, with HTTPS between and without, in turn.

Then its memory with ten thousand waiting clients, over a queue that no worker empties.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.alternation import against, alternate
from bench.load.flows import SigmillFlow, in_envelopes, load_process, paced_p50_ms
from bench.measurement.machine import load_average
from bench.measurement.procfs import PROC, process_stat
from bench.report.data import at_least, at_most
from bench.testbed.config_files import BenchTenant, ClientFiles
from queueing.broker.submit import submit
from queueing.client.identity.credentials import StaticIdentity
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.config.redis import RedisConfig
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.redis.connection import with_connection
from queueing.unix_time import unix_ms
from workers.dev.redis_server import RedisServer
from workers.dev.relay_process import RelayProcess
from workers.dev.tenants import AUDIENCE
from workers.dev.worker_process import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arq.connections import ArqRedis

    from bench.session import Session
    from bench.testbed.testbed import BenchTestbed

SHARE: Final = 0.8
MORE_P50_MS: Final = 3.0
WAITING: Final = 10_000
MOST_MEMORY_MB: Final = 2000.0
CPU_US: Final = 10.0
"""CPU of the relay for each signature: as much as client, Redis and worker together may take (``bench.scenarios.throughput``)."""

REQUEST_US: Final = 3000.0
"""CPU of the relay for each request: TLS, aiohttp, a submit or a poll of many jobs; 1,700 us were measured on a full machine."""

_IDLE_ROUNDS: Final = 4
_SUBMITTED_AT_ONCE: Final = 500
_READY_S: Final = 300.0
_REQUESTS: Final = re.compile(r"^sigmill_relay_requests_total\{.*\} (\S+)$", re.MULTILINE)
_WAITING: Final = re.compile(r"^sigmill_relay_waiting_clients (\S+)$", re.MULTILINE)


def relay(session: Session) -> None:
    """Throughput at 64 to an envelope, one digest at idle, CPU of a request; then memory."""
    tenant = BenchTenant(name="p256", kind=KeyKind.P256, verify_after_sign=False)
    with session.testbed([tenant]) as testbed, relay_beside(testbed, tenant) as (process, files):
        _throughput(session, testbed, tenant, process, files)
        _idle(session, testbed, tenant, files)
    _memory(session, WAITING if session.pace.wide else WAITING // 10)


@contextlib.contextmanager
def relay_beside(testbed: BenchTestbed, tenant: BenchTenant) -> Iterator[tuple[RelayProcess, ClientFiles]]:
    """A relay over the testbed's Redis, and the client's files that name it."""
    port, metrics_port = free_ports(2)
    process = RelayProcess(
        testbed.directory / "relay",
        audience=AUDIENCE,
        tenants={tenant.name: testbed.server},
        port=port,
        metrics_port=metrics_port,
        logs=testbed.directory / "logs",
    )
    try:
        process.wait_until_ready()
        direct = testbed.clients[tenant.name]
        yield (
            process,
            ClientFiles(
                verifying=process.client_file(direct.verifying, "verifying-relay.toml"),
                trusting=process.client_file(direct.trusting, "trusting-relay.toml"),
            ),
        )
        process.check()
    finally:
        process.stop()


def _throughput(
    session: Session, testbed: BenchTestbed, tenant: BenchTenant, process: RelayProcess, files: ClientFiles
) -> None:
    with contextlib.ExitStack() as stack:
        order = in_envelopes(64)
        flows = {
            "direct": stack.enter_context(SigmillFlow(testbed, tenant.name, order)),
            "relay": stack.enter_context(SigmillFlow(testbed, tenant.name, order, files=files)),
        }
        before_s, before = process_stat(process.pid).cpu_s, _requests(process)
        found = alternate(flows, None, rounds=session.pace.rounds, seconds=session.pace.seconds)
        used_s, requests = process_stat(process.pid).cpu_s - before_s, _requests(process) - before
    signatures = sum(each.signatures for each in found["relay"].rounds)
    note = (
        f"{found['relay'].per_s:,.0f}/s by the relay, {found['direct'].per_s:,.0f}/s directly;"
        f" {1e6 * used_s / requests:,.0f} us of the relay's CPU a request, polls included; {load_average()}"
    )
    name = "relay: throughput at 64 an envelope, share of that without"
    session.threshold(at_least(name, against(found["relay"], found["direct"]), SHARE, note=note))
    name = "relay: CPU of the relay for a request, polls included"
    session.threshold(at_most(name, 1e6 * used_s / requests, REQUEST_US, unit="us", note=note))
    name = "relay: CPU of the relay at 64 an envelope"
    session.threshold(at_most(name, 1e6 * used_s / signatures, CPU_US, unit="us/signature", note=note))
    session.say(f"  {note}")


def _idle(session: Session, testbed: BenchTestbed, tenant: BenchTenant, files: ClientFiles) -> None:
    count = 400 if session.pace.wide else 100
    with (
        load_process(testbed, tenant) as direct,
        load_process(testbed, tenant, 1, files=files) as by_relay,
    ):
        for load in (direct, by_relay):
            paced_p50_ms(load, 50)
        differences = []
        for _ in range(_IDLE_ROUNDS):
            first = paced_p50_ms(direct, count)
            differences.append(paced_p50_ms(by_relay, count) - (first + paced_p50_ms(direct, count)) / 2)
    session.threshold(
        at_most(
            "relay: one digest at idle, p50 beyond that without",
            statistics.median(differences),
            MORE_P50_MS,
            unit="ms",
            note=load_average(),
        )
    )


def _memory(session: Session, count: int) -> None:
    """Resident memory of a relay at which so many clients wait, each for a job of its own."""
    folder = session.directory / "relay"
    logs = folder / "logs"
    logs.mkdir(parents=True)
    port, metrics_port = free_ports(2)
    server = RedisServer(folder / "redis", logs)
    process = RelayProcess(
        folder / "files", audience=AUDIENCE, tenants={"waiting": server}, port=port, metrics_port=metrics_port, logs=logs
    )  # fmt: skip
    try:
        process.wait_until_ready()
        job_ids = asyncio.run(_submitted(server, count))
        idle_mb = _rss_mb(process.pid)
        with _waiting_clients(process, job_ids, logs / "waiting.log"):
            _until_waiting(process, count)
            before_s, began_s = process_stat(process.pid).cpu_s, time.monotonic()
            time.sleep(10.0)
            busy = (process_stat(process.pid).cpu_s - before_s) / (time.monotonic() - began_s)
            memory_mb = _rss_mb(process.pid)
    finally:
        process.stop()
        server.stop()
    note = f"{idle_mb:.0f} MB idle; {1e3 * (memory_mb - idle_mb) / count:.0f} kB a client; {busy:.1%} of a core while they wait"
    name = f"relay: memory with {count:,} waiting clients"
    session.threshold(at_most(name, memory_mb, MOST_MEMORY_MB, unit="MB", note=note))
    session.say(f"  {note}")


async def _submitted(server: RedisServer, count: int) -> list[str]:
    """Ids of so many queued jobs of one digest."""
    now_ms = unix_ms()
    identity = StaticIdentity("bench", ClientKey.generate())
    builder = EnvelopeBuilder(
        audience=AUDIENCE,
        tenant="waiting",
        identity=identity,
        ttl_ms=3_600_000,
        reply_id="",
        now_ms=lambda: now_ms,
    )
    target = Target("release", 0, Algorithm.ECDSA_SHA_256)
    jobs = [
        builder.seal_with(
            identity.held, SigningRequest.of(target, [hashlib.sha256(b"%d" % number).digest()], None)
        )
        for number in range(count)
    ]

    async def send(redis: ArqRedis) -> None:
        for first in range(0, count, _SUBMITTED_AT_ONCE):
            await submit(redis, "waiting", jobs[first : first + _SUBMITTED_AT_ONCE], now_ms=now_ms)

    config = RedisConfig(unix_socket=str(server.socket), password_file=str(server.password_file))
    await with_connection(config, send)
    return [job.job_id for job in jobs]


@contextlib.contextmanager
def _waiting_clients(process: RelayProcess, job_ids: list[str], log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.load.waiting_clients", "--port", str(process.port)]
    command += ["--ca-file", str(process.ca_file), "--tenant", "waiting", "--count", str(len(job_ids))]
    with log.open("ab") as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write("".join(f"{job_id}\n" for job_id in job_ids))
        child.stdin.flush()
        if child.stdout.readline() != "ready\n":
            raise RuntimeError(f"the waiting clients ended: {log.read_text()[-500:]}")
        yield
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _until_waiting(process: RelayProcess, count: int) -> None:
    deadline = time.monotonic() + _READY_S
    while _sum(_WAITING, process) < count:
        if time.monotonic() > deadline:
            raise RuntimeError("not all clients wait at the relay")
        time.sleep(0.1)


def _requests(process: RelayProcess) -> float:
    return _sum(_REQUESTS, process)


def _sum(pattern: re.Pattern[str], process: RelayProcess) -> float:
    return sum(float(value) for value in pattern.findall(process.metrics()))


def _rss_mb(pid: int) -> float:
    pages = int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6
