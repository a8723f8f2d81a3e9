"""Wall time of a build that signs its files with ``sigmill sign``.

RSA-3072; from the start of the command to its end, so interpreter start, hashing, verification of every
signature by the client and output are in it. Alone, and beside a tenant that floods the same host.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.alternation import Course
from bench.load.flows import FlowFailed, Measured, SigmillFlow, in_envelopes, load_process
from bench.load.messages import Endless, Rest
from bench.measurement.cpu import CpuMeter, cpu_between
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind
from workers.dev.tenants import KEY

if TYPE_CHECKING:
    from bench.testbed.testbed import BenchTestbed

FILES: Final = {"quick": 1_000, "full": 20_000}
FILE_BYTES: Final = 16_384
FLOOD_SIZE: Final = 64
FLOOD_AHEAD_S: Final = 1.0
BUILD: Final = BenchTenant(name="build", kind=KeyKind.RSA_3072)
FLOOD: Final = BenchTenant(name="flood", kind=KeyKind.RSA_3072)


def build(session: Session) -> None:
    """Measure both rows: alone and beside the flood."""
    count = FILES[session.pace.name]
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed([BUILD, FLOOD]))
        with SigmillFlow(testbed, BUILD.name, in_envelopes(64)):
            pass  # lanes are up and know how long a signature takes, as in a service that runs
        seconds = 2 * session.pace.ceiling_seconds
        ceiling = stack.enter_context(session.ceiling(BUILD.kind, seconds=seconds))
        files = _files(session.directory / "files", count)
        ceiling.round(seconds)
        alone = _sign_all(testbed, files)
        ceiling.round(seconds)
        with load_process(testbed, FLOOD) as flood:
            flood.order(Endless(size=FLOOD_SIZE))
            flood.answer()
            time.sleep(FLOOD_AHEAD_S)
            beside = _sign_all(testbed, files)
            flood.order(Rest())
            flood.answer()
    before, after = ceiling.best_rates(2)
    # The flood's queue is not empty when the second build is done: its ceiling is what was there just before.
    rows = {
        "alone": (alone, statistics.mean((before, after)), ""),
        "beside a flooding tenant": (beside, after, "; worker and lane CPU are those of both tenants"),
    }
    for name, (measured, ceiling_per_s, more) in rows.items():
        session.row(
            f"sigmill sign on {count:,} files, {name}",
            BUILD.kind,
            64,
            Course(rounds=[measured], ceilings_per_s=[ceiling_per_s]),
            verified=True,
            note=f"{measured.seconds:.1f} s wall; start, hashing, the client's verification included{more}",
        )


def _sign_all(testbed: BenchTestbed, files: list[str]) -> Measured:
    """Run the command once; its CPU is the client's."""
    meter = CpuMeter({"redis": [testbed.redis.pid], "worker": testbed.worker_pids, "lane": testbed.lane_pids})
    output = testbed.directory / "signed.jsonl"
    command = [sys.executable, "-m", "workers.cli", "sign", "--key", KEY]
    command += ["--config", str(testbed.clients[BUILD.name].verifying), *files]
    before, began = meter.snapshot(), time.perf_counter()
    with output.open("wb") as lines, (testbed.directory / "logs" / "sign.log").open("ab") as talk:
        process = subprocess.Popen(command, stdout=lines, stderr=talk)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    signed = output.read_bytes().count(b'"signature":')
    if process.returncode or signed != len(files):
        raise FlowFailed(f"sigmill sign ended with {process.returncode}: {signed} of {len(files)} signed")
    used = cpu_between(before, meter.snapshot())
    return Measured(
        signatures=signed, seconds=seconds, cpu_s={**used, "client": usage.ru_utime + usage.ru_stime}
    )


def _files(directory: Path, count: int) -> list[str]:
    directory.mkdir()
    paths = [directory / f"{number:05}" for number in range(count)]
    for path in paths:
        path.write_bytes(os.urandom(FILE_BYTES))
    return [str(path) for path in paths]
