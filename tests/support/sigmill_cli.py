"""The command line in a process of its own, with its two outputs and its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 60.0

_COMMAND: Final = (sys.executable, "-m", "workers.cli")
_FOREIGN: Final = ("GITHUB_", "CI", "SIGMILL_", "BUILD")
"""Variables of a CI run of these tests, which commands would take for their own."""

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


def sigmill(*words: str | Path, config: Path | None = None) -> Ran:
    """Run ``sigmill`` to its end; ``config`` goes into SIGMILL_CONFIG."""
    done = subprocess.run(
        [*_COMMAND, *map(str, words)],
        env=environment({} if config is None else {"SIGMILL_CONFIG": str(config)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


async def start_sigmill(
    *words: str | Path, environ: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start ``sigmill`` with pipes for its input and outputs."""
    return await asyncio.create_subprocess_exec(
        *_COMMAND,
        *map(str, words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_LIMIT_BYTES,
        env=environment(environ),
    )


async def run_sigmill(
    *words: str | Path, stdin: bytes = b"", environ: Mapping[str, str] | None = None
) -> Ran:
    """Run ``sigmill`` to its end while the event loop goes on, as tests with a responder need it."""
    process = await start_sigmill(*words, environ=environ)
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
