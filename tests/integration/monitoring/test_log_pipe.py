"""Worker whose stderr is a pipe without a reader, or with one that does not read: it signs, answers probes
and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from queueing import Signature
from tests.support.hsm.manners import Manners
from tests.support.ports import free_port
from tests.support.rig.rig import MakeRig, Rig
from tests.support.waiting import until
from workers.config.settings import TokenSettings

DRAIN_S = 20.0
JOBS = "\n[logging]\njobs = true\n"


@dataclass(slots=True)
class Piped:
    """A worker and the reading end of its stderr, of 4 KiB."""

    process: subprocess.Popen[bytes]
    port: int
    reader: int

    def status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def dropped(self) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        (line,) = [line for line in text.splitlines() if line.startswith("sigmill_log_lines_dropped_total ")]
        return float(line.split()[1])


@contextlib.contextmanager
def piped_worker(rig: Rig) -> Iterator[Piped]:
    port = free_port()
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    command = [sys.executable, "-m", "workers.cli", "worker", "--config", str(rig.config(1, port))]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
    os.close(writer)
    worker = Piped(process, port, reader)
    try:
        until(lambda: worker.status("/readyz") == 200, "it is ready")
        yield worker
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            os.close(reader)


async def sign(rig: Rig, number: int) -> None:
    async with rig.client() as client:
        for _ in range(number):
            signed = await client.sign("release", os.urandom(32), timeout_s=20.0)
            assert isinstance(signed, Signature)


async def test_a_log_that_no_process_reads_stops_nothing(make_rig: MakeRig) -> None:
    """Two lines a job fill the pipe after a dozen jobs; SIGTERM ends the worker within its deadline."""
    rig = make_rig(worker={"drain_s": DRAIN_S}, service=JOBS)
    with piped_worker(rig) as worker:
        await sign(rig, 60)
        assert (worker.status("/healthz"), worker.status("/readyz")) == (200, 200)
        began_s = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(DRAIN_S + 5.0) == 0
        assert time.monotonic() - began_s < DRAIN_S


async def test_a_reader_that_leaves_changes_no_exit_code(make_rig: MakeRig) -> None:
    """Lines are dropped and counted; the interpreter's own flush of stderr made it 120."""
    rig = make_rig(worker={"drain_s": DRAIN_S}, service=JOBS)
    with piped_worker(rig) as worker:
        os.close(worker.reader)
        await sign(rig, 5)
        until(lambda: worker.dropped() >= 10, "the lines are counted")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(DRAIN_S + 5.0) == 0


def that_talks(settings: TokenSettings) -> TokenSettings:
    """The token, behind a module that writes a line of 1 KiB to stderr at each signature."""
    return Manners(names=("talks",), real_module=Path(settings.module)).in_front_of(settings)


async def test_a_module_that_talks_waits_for_no_reader_of_the_log(make_rig: MakeRig) -> None:
    """The worker reads what a module writes to stderr: into the pipe of the log, the module's write would last as long as no process reads it."""
    rig = make_rig(wrap=that_talks)
    with piped_worker(rig) as worker:
        await sign(rig, 200)  # 100 KiB for each of two lanes: more than a pipe holds
        assert worker.status("/healthz") == 200


async def test_words_of_a_module_are_log_lines(make_rig: MakeRig) -> None:
    """They are JSON like all others."""
    rig = make_rig(wrap=that_talks)
    worker = rig.start_worker()
    await sign(rig, 60)

    def words_of(token: str = "") -> list[dict[str, str]]:
        lines = (line for line in worker.log().splitlines() if '"lane.wrote"' in line)
        return [word for word in map(json.loads, lines) if word["token"] == token or not token]

    until(lambda: bool(words_of("acme")), "the worker has read some")
    words = words_of()
    assert {each["text"][:9] for each in words} == {"manners: "}
    assert all(line.startswith("{") for line in worker.log().splitlines())
