"""Load processes from the harness's side: started, ordered about, ended."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from bench.load.messages import Done, Order

START_TIMEOUT_S: Final = 30.0
ORDER_TIMEOUT_S: Final = 60.0  # the longest order is an envelope of 1,024 RSA-4096 digests, or 10 s of load
END_TIMEOUT_S: Final = 10.0


class LoadFailed(RuntimeError):
    """A load process ended or was silent; the message ends with what it said."""


class LoadProcess:
    """A child that speaks lines: ``ready``, then an answer to each order. A context manager."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                bufsize=1,
            )

    def __enter__(self) -> Self:
        try:
            self._hear(START_TIMEOUT_S)  # "ready", or its end
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def order(self, order: Order) -> None:
        """Send an order; ``answer`` is to follow."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._process.stdin.flush()

    def answered(self, within_s: float) -> bool:
        """Whether an answer is there now, or comes in this time; ``answer`` then has it at once."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], within_s)[0])

    def answer(self, timeout_s: float = ORDER_TIMEOUT_S) -> Done:
        """Result of the order; raises ``LoadFailed``."""
        return msgspec.json.decode(self._hear(timeout_s), type=Done)

    def close(self) -> None:
        """End of orders; killed if it does not leave."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(END_TIMEOUT_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _hear(self, timeout_s: float) -> str:
        """The next line; a line is written at once, so one that is readable is complete."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        line = self._process.stdout.readline() if readable else ""
        if not line:
            raise LoadFailed(f"no answer from the load process: {self._log_tail()}")
        return line.rstrip("\n")

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])


def all_together(processes: Sequence[LoadProcess], order: Order) -> Done:
    """Give each process the same order, at once; sums of their answers, and the longest time."""
    for process in processes:
        process.order(order)
    answers = [process.answer() for process in processes]
    failures: dict[str, int] = {}
    for answer in answers:
        for reason, count in answer.failures.items():
            failures[reason] = failures.get(reason, 0) + count
    return Done(
        signatures=sum(answer.signatures for answer in answers),
        seconds=max(answer.seconds for answer in answers),
        failures=failures,
        latency=answers[0].latency,
        open_loop=answers[0].open_loop,
    )
