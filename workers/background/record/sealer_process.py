"""The sealer as a child of the worker: started, and started again whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff

if TYPE_CHECKING:
    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

_PASSED_ON: Final = ("LANG", "LC_ALL", "TZ", "PATH")
_WATCH_S: Final = 0.5
_END_WATCH_S: Final = 0.02

_STEADY_S: Final = 60.0
"""A sealer that ran so long is started again at once."""


class SealerProcess:
    """Runs ``sigmill sealer`` for this worker's state directory. Nothing waits for it, and its end ends nothing else."""

    def __init__(self, config: CurrentConfig, metrics: Metrics) -> None:
        self._state_dir = config.service.state_dir
        self._log_name = config.service.log_name
        self._metrics = metrics
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """Keep a sealer running until cancelled; ``close`` ends the last one."""
        backoff = Backoff(first_s=0.5, most_s=30.0)
        while True:
            started = time.monotonic()
            try:
                process = self._process = self._start()
            except OSError as error:
                self._ended(error.strerror or str(error))
            else:
                while process.poll() is None:  # noqa: ASYNC110 - the kernel sets no event
                    await asyncio.sleep(_WATCH_S)
                self._ended(f"exit code {process.returncode}")
            if time.monotonic() - started >= _STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def close(self, within_s: float) -> None:
        """Have the sealer seal what the log has, and wait for its end; one that takes longer the kernel ends with the worker.

        To be called when ``run`` has ended and the log is closed.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(within_s):
                while process.poll() is None:  # noqa: ASYNC110 - the kernel sets no event
                    await asyncio.sleep(_END_WATCH_S)
        except TimeoutError:
            log.warning("record.sealer_left", extra={"pid": process.pid})

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it from this thread, which lives as long as the worker: the parent-death signal follows the thread."""
        words = ["--child-of", str(os.getpid()), "--state-dir", str(self._state_dir)]
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "workers.cli", "sealer", *words, "--log-name", self._log_name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,  # a terminal's Ctrl-C drains the worker, which then ends its sealer
        )

    def _ended(self, why: str) -> None:
        log.error("record.sealer_ended", extra={"why": why})
        self._metrics.record_failures.labels("exited").inc()
