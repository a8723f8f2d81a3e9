"""Stock arq on the same machine, Redis and module: the baseline of the same run."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final, Self

from bench.ceiling.probe import INPUTS
from bench.load.flows import FlowFailed, Measured
from bench.load.messages import Burst
from bench.load.supervisor import LoadProcess
from bench.measurement.cpu import CpuMeter, cpu_between
from workers.dev.child_process import Child

if TYPE_CHECKING:
    from bench.hsm.keyring import KeptFile
    from bench.testbed.testbed import BenchTestbed

QUEUE: Final = "arq:baseline"
STOP_TIMEOUT_S: Final = 5.0
FIRST_DIGESTS: Final = 200


class ArqFlow:
    """Stock workers and one client process on a testbed's Redis. A context manager.

    The key is any that the module signs without padding of ours: P-256 or Ed25519.
    """

    def __init__(self, testbed: BenchTestbed, held: KeptFile, *, workers: int = 1) -> None:
        self._testbed = testbed
        self._held = held
        self._count = workers
        self._workers: list[Child] = []
        self._load: LoadProcess | None = None
        self._rate_per_s = 500.0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        server, logs = self._testbed.server, self._testbed.directory / "logs"
        mechanism, input_bytes = INPUTS[self._held.kind]
        target = self._held.target()
        place = ["--socket", str(server.socket), "--password-file", str(server.password_file)]
        place += ["--queue", QUEUE]
        token = ["--module", str(target.module), "--token", target.token, "--key", target.key]
        token += ["--pin-file", str(target.pin_file), "--mechanism", mechanism]
        token += ["--input-bytes", str(input_bytes)]
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop_workers)
            for number in range(self._count):
                command = [sys.executable, "-m", "bench.baseline.worker", *place, *token]
                log = logs / f"arq-worker-{number}.log"
                self._workers.append(Child(f"arq-{number}", command, log, target.environment))
            load = ["-m", "bench.baseline.client_process", *place, "--digest-bytes", str(input_bytes)]
            self._load = stack.enter_context(LoadProcess(load, logs / "arq-load.log"))
            self._burst(FIRST_DIGESTS)
            self.round(0.5)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def round(self, seconds: float) -> Measured:
        """Sign for about so long, one digest per job."""
        assert self._load is not None
        meter = CpuMeter(
            {
                "client": [self._load.pid],
                "redis": [self._testbed.redis.pid],
                "worker": [worker.pid for worker in self._workers],
            }
        )
        before = meter.snapshot()
        signed, elapsed_s = self._burst(round(self._rate_per_s * seconds))
        used = cpu_between(before, meter.snapshot())
        self._rate_per_s = signed / elapsed_s
        return Measured(signatures=signed, seconds=elapsed_s, cpu_s=used)

    def _burst(self, digests: int) -> tuple[int, float]:
        assert self._load is not None
        self._load.order(Burst(digests=digests, size=1))
        done = self._load.answer()
        if done.signatures != digests:
            raise FlowFailed(f"stock arq signed {done.signatures} of {digests}")
        return done.signatures, done.seconds

    def _stop_workers(self) -> None:
        for worker in self._workers:
            worker.stop(STOP_TIMEOUT_S)
