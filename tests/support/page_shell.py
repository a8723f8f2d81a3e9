"""Shell of a reader of a page: runs its command lines beside the service of a rig."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

COMMAND_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class PageShell:
    """Shell in ``folder``, with the ``sigmill`` of this environment and the service file ``config``."""

    folder: Path
    config: Path

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one line, until its end or for a minute."""
        return subprocess.run(
            ["bash", "-euc", line],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "SIGMILL_CONFIG": str(self.config),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )


class RunsLines(Protocol):
    """Room in which lines of a page are run."""

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one line."""


def failures(room: RunsLines, lines: Iterable[str], *, silent: bool = True) -> dict[str, str]:
    """Run the lines in order; returns code and last output of those that failed.

    ``silent``: a line may print nothing.
    """
    failed = {}
    for line in lines:
        done = room.run(line)
        if done.returncode != 0 or not (silent or done.stdout or done.stderr):
            failed[line] = f"{done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}"
    return failed


def told(failed: dict[str, str]) -> str:
    """The failed lines, each with its output below it."""
    return "\n".join(f"{line}\n    {why}" for line, why in failed.items())
