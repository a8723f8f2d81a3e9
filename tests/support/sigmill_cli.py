"""The command line as a user meets it: a process, its two outputs and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """Result of a command."""

    code: int
    out: str
    err: str

    def json(self) -> list[dict[str, Any]]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def error(self) -> dict[str, Any]:
        """The error of its one JSON line."""
        error: dict[str, Any] = self.json()[0]["error"]
        return error


def sigmill(*words: str | Path, config: Path | None = None) -> Ran:
    """Run ``sigmill``; ``config`` goes into SIGMILL_CONFIG."""
    environment = {**os.environ, **({} if config is None else {"SIGMILL_CONFIG": str(config)})}
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
