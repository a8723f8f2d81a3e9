"""The command line in a process of its own, with its two outputs and its exit code.

A command that runs to its end is a fork of a process that has the imports already (``warm_sigmill``): that is a fifth of
the CPU time. One that is started and then told something is a Python of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TIMEOUT_S = 60.0

_COMMAND: Final = (sys.executable, "-m", "workers.cli")
_WARM: Final = Path(__file__).with_name("commands")
_ROOT: Final = Path(__file__).parents[2]
_FOREIGN: Final = ("GITHUB_", "CI", "SIGMILL_", "BUILD")
"""Variables of a CI run of these tests, which commands would take for their own."""

_READ_AT_START: Final = ("LANG", "LC_", "LD_", "OPENSSL_", "PYTHON", "TZ")
"""Variables that the loader, the C library and Python read when a process starts, and not when it forks."""

_LINE_LIMIT_BYTES: Final = 1 << 24
"""`sigmill submit` prints one line for all digests."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Exit code and outputs of a command."""

    code: int
    out: str
    err: str

    def json(self) -> list[dict[str, Any]]:
        """Objects of the JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    def error(self) -> dict[str, Any]:
        """Error object of the only JSON line."""
        error: dict[str, Any] = self.json()[0]["error"]
        return error


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without variables of a CI run or of Sigmill, with these changes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**inherited, **(changes or {})}


@functools.cache
def warm_command() -> tuple[str, ...]:
    """First words of a command line that runs ``sigmill`` in a fork of this session's warm process.

    Where coverage is measured, it is a Python of its own: coverage counts at the end of a Python that it began with.
    """
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        return _COMMAND
    address = f"sigmill-tests-{os.getpid()}-{os.urandom(8).hex()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.commands.warm_sigmill", address],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.communicate)  # it ends when its stdin does
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return (sys.executable, "-I", "-S", str(_WARM / "warm_client.py"), address)


def sigmill(*words: str | Path, config: Path | None = None) -> Ran:
    """Run ``sigmill`` to its end; ``config`` goes into SIGMILL_CONFIG."""
    done = subprocess.run(
        [*warm_command(), *map(str, words)],
        env=environment({} if config is None else {"SIGMILL_CONFIG": str(config)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def with_defaults(options: Mapping[str, str | Path], *words: str | Path) -> list[str | Path]:
    """The words, behind these options of one value, of which those are left out that the words have themselves."""
    return [*(part for each in options.items() if each[0] not in words for part in each), *words]


async def start_sigmill(
    *words: str | Path, environ: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start ``sigmill`` with pipes for its input and outputs, in a process that takes signals.

    SIGHUP, too, which tests under ``nohup`` would have it ignore.
    """
    return await _start(("env", "--default-signal=HUP", *_COMMAND), words, environ)


async def run_sigmill(
    *words: str | Path, stdin: bytes = b"", environ: Mapping[str, str] | None = None
) -> Ran:
    """Run ``sigmill`` to its end while the event loop goes on, as tests with a responder need it."""
    at_start = any(name.startswith(_READ_AT_START) for name in environ or ())
    process = await _start(_COMMAND if at_start else warm_command(), words, environ)
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def _start(
    command: Sequence[str], words: Sequence[str | Path], environ: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        *map(str, words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_LIMIT_BYTES,
        env=environment(environ),
    )
