"""One way to drive a PKCS#11 module to its limit: the processes of a loop, open and idle between rounds.

Both loops, ``native/signloop.c`` and ``python_loop.py``, speak the same few words: "ready", "go SECONDS", a line of
JSON for each round.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import msgspec

from bench.native.build import BUILD_DIRECTORY, build_signloop
from queueing.protocol.algorithms import FACTS, KEY_KINDS, KeyFamily, KeyKind
from queueing.protocol.der import digest_info_prefix

START_TIMEOUT_S: Final = 30.0
PYTHON_LOOP: Final = Path(__file__).with_name("python_loop.py")
ROUND_GRACE_S: Final = 30.0  # beyond a round's own length: an RSA-4096 signature, a busy machine
START_TRIES: Final = 3  # SoftHSM's start race: the whole process is tried again
_MECHANISMS: Final[Mapping[KeyFamily, str]] = {
    KeyFamily.RSA: "rsa",
    KeyFamily.EC: "ecdsa",
    KeyFamily.EDWARDS: "eddsa",
}


def _input(kind: KeyKind) -> tuple[str, int]:
    """Mechanism, and bytes of the input: the digest of the kind's default algorithm, for RSA in its DigestInfo."""
    family, algorithm = KEY_KINDS[kind].family, FACTS[KEY_KINDS[kind].default_algorithm]
    head = digest_info_prefix(algorithm.hash_name) if family is KeyFamily.RSA and algorithm.hash_name else b""
    return _MECHANISMS[family], len(head) + min(algorithm.digest_lengths)


INPUTS: Final[Mapping[KeyKind, tuple[str, int]]] = {
    kind: _input(kind) for kind, facts in KEY_KINDS.items() if facts.family in _MECHANISMS
}
"""Kind of key -> mechanism, input bytes; of the families that the loops can drive."""


class ProbeFailed(RuntimeError):
    """A loop did not start, or died; the message ends with what it said."""


class Loop(StrEnum):
    """The loop that drives the module."""

    C = "c"
    PYTHON = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A key in a token. ``environment`` is set for the loops only, beside what this process has."""

    module: Path
    token: str
    key: str
    kind: KeyKind
    pin_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """Settings of a probe. ``pinned``: each process on one CPU, in turn."""

    loop: Loop
    threads: int
    processes: int
    verify: bool = False
    pinned: bool = False

    def __str__(self) -> str:
        extras = " verify" * self.verify + " pinned" * self.pinned
        return f"{self.loop} {self.processes} x {self.threads}{extras}"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round: rates and CPU are sums over processes, ``seconds`` is the longest of them."""

    signatures: int
    seconds: float
    rate_per_s: float
    cpu_s: float


class CeilingProbe:
    """The processes of one drive, open and idle between rounds. A context manager.

    They start one after another, each when the one before is ready: SoftHSM does not bear two starts at once.
    """

    def __init__(self, target: Target, drive: Drive, *, build_directory: Path = BUILD_DIRECTORY) -> None:
        self.target = target
        self.drive = drive
        self._command = _command(target, drive, build_directory)
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            for index in range(self.drive.processes):
                self._processes.append(self._start(index))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The loops' processes, for those who watch the machine."""
        return [process.pid for process in self._processes]

    def round(self, seconds: float) -> Round:
        """Sign for ``seconds`` in all processes at once. Blocks; raises ``ProbeFailed``."""
        for process in self._processes:
            _say(process, f"go {seconds}")
        deadline = time.monotonic() + seconds + ROUND_GRACE_S
        parts = [
            msgspec.json.decode(_hear(process, deadline), type=Round, strict=False)
            for process in self._processes
        ]
        return Round(
            signatures=sum(part.signatures for part in parts),
            seconds=max(part.seconds for part in parts),
            rate_per_s=sum(part.rate_per_s for part in parts),
            cpu_s=sum(part.cpu_s for part in parts),
        )

    def close(self) -> None:
        """End the processes; those that do not exit are killed."""
        processes, self._processes = self._processes, []
        for process in processes:
            _end(process)

    def _start(self, index: int) -> subprocess.Popen[str]:
        for attempt in range(1, START_TRIES + 1):
            process = subprocess.Popen(
                self._command,
                env={**os.environ, **self.target.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            if self.drive.pinned:  # threads inherit it: they are started later, by the main thread
                cpus = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(process.pid, {cpus[index % len(cpus)]})
            try:
                if _hear(process, time.monotonic() + START_TIMEOUT_S) == "ready":
                    return process
            except ProbeFailed:
                if attempt == START_TRIES:
                    raise
            _end(process)
        raise ProbeFailed("the loop speaks another protocol")


def _command(target: Target, drive: Drive, build_directory: Path) -> list[str]:
    mechanism, input_bytes = INPUTS[target.kind]
    loop = [str(build_signloop(build_directory))]
    if drive.loop is Loop.PYTHON:
        loop = [sys.executable, "-P", str(PYTHON_LOOP)]  # -P: bench/ itself does not come onto the path
    options = {
        "module": target.module,
        "token": target.token,
        "key": target.key,
        "pin-file": target.pin_file,
        "mechanism": mechanism,
        "input-bytes": input_bytes,
        "threads": drive.threads,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*loop, *words, *(["--verify"] if drive.verify else [])]


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise ProbeFailed(_log_tail(process)) from None


def _hear(process: subprocess.Popen[str], deadline: float) -> str:
    """The next line of a loop. A loop writes a whole line at once, so one that is readable is complete."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
    line = process.stdout.readline() if readable else ""
    if not line:
        raise ProbeFailed(_log_tail(process))
    return line.rstrip("\n")


def _log_tail(process: subprocess.Popen[str]) -> str:
    process.kill()
    _, stderr = process.communicate()
    return f"{Path(process.args[0]).name if isinstance(process.args, list) else 'loop'}: {stderr[-2000:]}"


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=START_TIMEOUT_S)  # closes stdin, which is the order to leave
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    except ValueError:  # its pipes were closed before, by the reader of its last output
        process.wait()
