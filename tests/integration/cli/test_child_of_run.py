"""The command of ``sigmill run`` and signals: one that comes while it starts, and those that are ignored."""

from __future__ import annotations

import subprocess
import sys

EARLY = """
import asyncio, os, signal
from workers.cli.tools import child

started = asyncio.create_subprocess_exec

async def start_and_be_cancelled(*command, **options):
    process = await started(*command, **options)
    os.kill(os.getpid(), signal.SIGTERM)  # the CI cancels before the process is handed over
    await asyncio.sleep(0)
    return process

asyncio.create_subprocess_exec = start_and_be_cancelled
raise SystemExit(asyncio.run(child.run_child(["sleep", "100"], os.environ)))
"""

IGNORED = """
import asyncio, os, signal
from workers.cli.tools import child

signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
command = ["sh", "-c", "kill -HUP $$; kill -INT $$; echo continued"]
raise SystemExit(asyncio.run(child.run_child(command, os.environ)))
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_signal_that_comes_while_the_command_starts_is_sent_to_it() -> None:
    """The command could be running already: without the signal it would outlive the build."""
    ran = run(EARLY)
    assert ran.returncode == 128 + 15, ran.stderr


def test_signals_that_are_ignored_stay_ignored_for_the_command() -> None:
    """The command ignores SIGHUP and SIGINT where `sigmill run` does, as after nohup."""
    ran = run(IGNORED)
    assert (ran.returncode, ran.stdout) == (0, "continued\n"), ran.stderr
