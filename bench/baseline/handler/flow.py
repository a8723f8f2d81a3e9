"""The handler beside the relay, on the same machine and module: a baseline of the same run."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import time
from typing import TYPE_CHECKING, Final, Self

from bench.ceiling.probe import INPUTS
from bench.load.flows import FlowFailed, Measured
from bench.load.messages import Burst
from bench.load.supervisor import LoadProcess
from bench.measurement.cpu import CpuMeter, cpu_between
from workers.dev.child_process import Child
from workers.dev.trial_tls import write_authority_and_server

if TYPE_CHECKING:
    from pathlib import Path

    from bench.hsm.keyring import KeptFile

READY_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.05


class Handler:
    """The handler's process, and one client process. A context manager.

    The key is any that the module signs without padding of ours: P-256 or Ed25519.
    """

    def __init__(self, folder: Path, held: KeptFile, *, port: int, logs: Path) -> None:
        self._folder = folder
        self._held = held
        self._port = port
        self._logs = logs
        self._service: Child | None = None
        self._load: LoadProcess | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        authority = write_authority_and_server(self._folder, host="127.0.0.1")
        secret = self._folder / "secret"
        secret.write_text(secrets.token_hex(32), "utf-8")
        mechanism, input_bytes = INPUTS[self._held.kind]
        target = self._held.target()
        command = [sys.executable, "-m", "bench.baseline.handler.service", "--port", str(self._port)]
        command += ["--module", str(target.module), "--token", target.token, "--key", target.key]
        command += [
            "--pin-file",
            str(target.pin_file),
            "--mechanism",
            mechanism,
            "--secret-file",
            str(secret),
        ]
        command += ["--certificate", str(self._folder / "server.pem")]
        command += ["--private-key", str(self._folder / "server.key")]
        load = [
            "-m",
            "bench.baseline.handler.client_process",
            "--url",
            f"https://127.0.0.1:{self._port}/sign",
        ]
        load += ["--ca-file", str(authority), "--secret-file", str(secret)]
        load += ["--digest-bytes", str(input_bytes)]
        with contextlib.ExitStack() as stack:
            self._service = Child("handler", command, self._logs / "handler.log", target.environment)
            stack.callback(self._service.stop, STOP_TIMEOUT_S)
            self._wait_until_ready(self._service)
            self._load = stack.enter_context(LoadProcess(load, self._logs / "handler-load.log"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def load(self) -> LoadProcess:
        """The client process."""
        assert self._load is not None
        return self._load

    @property
    def pid(self) -> int:
        """The handler's process."""
        assert self._service is not None
        return self._service.pid

    def _wait_until_ready(self, service: Child) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1.0):
                return
            if service.exit_code is not None or time.monotonic() > deadline:
                raise FlowFailed(f"the handler does not listen:\n{service.log_tail()}")
            time.sleep(_POLL_S)


class HandlerFlow:
    """Batches of ``size`` digests, a request each, as a flow (``bench.load.flows.Flow``)."""

    def __init__(self, handler: Handler, size: int) -> None:
        self._handler = handler
        self._size = size
        self._rate_per_s = 500.0

    def warm_up(self) -> None:
        """Find the rate; every thread of the pool has its session then."""
        for seconds in (0.3, 0.5):
            self.round(seconds)

    def round(self, seconds: float) -> Measured:
        """Sign for about so long."""
        meter = CpuMeter({"client": [self._handler.load.pid], "lane": [self._handler.pid]})
        batches = max(1, round(self._rate_per_s * seconds / self._size))
        before = meter.snapshot()
        self._handler.load.order(Burst(digests=batches * self._size, size=self._size))
        done = self._handler.load.answer()
        used = cpu_between(before, meter.snapshot())
        if done.signatures != batches * self._size:
            raise FlowFailed(f"the handler signed {done.signatures} of {batches * self._size}")
        self._rate_per_s = done.signatures / done.seconds
        return Measured(signatures=done.signatures, seconds=done.seconds, cpu_s=used)
