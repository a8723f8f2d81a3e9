"""The first second: wall time and CPU of ``sigmill sign`` on one file, from the start of its process to its end.

This is what a build pays that signs its files in a loop, a command for each. The command verifies the signature.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.load.flows import FlowFailed, SigmillFlow, in_envelopes
from bench.report.data import at_most
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind
from workers.dev.tenants import KEY

if TYPE_CHECKING:
    from bench.testbed.testbed import BenchTestbed

WALL_S: Final = 0.25
CPU_S: Final = 0.20
FILE_BYTES: Final = 16_384
RUNS: Final = 21
"""The first ones find the files of Python's modules on the disk; a median does not see them."""

TENANT: Final = BenchTenant(name="p256-on", kind=KeyKind.P256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One run of the command."""

    wall_s: float
    cpu_s: float


def first_second(session: Session) -> None:
    """Measure the command beside a service that runs."""
    with session.testbed([TENANT]) as testbed:
        with SigmillFlow(testbed, TENANT.name, in_envelopes(64)):
            pass  # lanes are up
        artifact = testbed.directory / "artifact"
        artifact.write_bytes(os.urandom(FILE_BYTES))
        runs = [_sign_one(testbed, artifact) for _ in range(RUNS)]
    wall_s = statistics.median(run.wall_s for run in runs)
    cpu_s = statistics.median(run.cpu_s for run in runs)
    session.threshold(at_most("first second: sigmill sign on one file, wall time", wall_s, WALL_S, unit="s"))
    session.threshold(at_most("first second: sigmill sign on one file, CPU", cpu_s, CPU_S, unit="s"))


def _sign_one(testbed: BenchTestbed, artifact: Path) -> Taken:
    command = [sys.executable, "-m", "workers.cli", "sign", "--key", KEY]
    command += ["--config", str(testbed.clients[TENANT.name].verifying), str(artifact)]
    output = testbed.directory / "signed-one.jsonl"
    began_s = time.perf_counter()
    with output.open("wb") as lines, (testbed.directory / "logs" / "sign.log").open("ab") as talk:
        process = subprocess.Popen(command, stdout=lines, stderr=talk)
        _, status, usage = os.wait4(process.pid, 0)
    taken = Taken(wall_s=time.perf_counter() - began_s, cpu_s=usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or output.read_bytes().count(b'"signature":') != 1:
        raise FlowFailed(f"sigmill sign ended with {process.returncode}, and signed nothing")
    return taken
