"""The command that ``sigmill run`` runs: its start, the signals that it gets, its exit code."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from queueing.errors import InputUnreadable
from workers.cli.shell.output import ErrorObject, print_error

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes of a command that cannot be started, as in shells (POSIX, 2.8.2)."""

_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP)
"""Signals for the command. A terminal sends SIGINT and SIGQUIT to it directly."""


async def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command with our stdin, stdout and stderr, and return its exit code; 128 + n after a signal."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        return _not_started(command[0], "no such program", NOT_FOUND)
    try:
        child = await asyncio.create_subprocess_exec(*command, executable=program, env=dict(environment))
    except OSError as error:
        return _not_started(command[0], error.strerror or "cannot be run", NOT_EXECUTABLE)
    loop = asyncio.get_running_loop()
    for number in _FORWARDED:
        loop.add_signal_handler(number, _forward, child, number)
    for number in (signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, lambda: None)  # the command decides; its end is ours
    try:
        code = await child.wait()
    finally:
        for number in (*_FORWARDED, signal.SIGINT, signal.SIGQUIT):
            loop.remove_signal_handler(number)
    return code if code >= 0 else 128 - code


def _forward(child: asyncio.subprocess.Process, number: int) -> None:
    if child.returncode is None:
        child.send_signal(number)


def _not_started(name: str, problem: str, code: int) -> int:
    error = InputUnreadable(f"{name}: {problem}", hint="Give the command after `--`, as in a shell.")
    print_error(ErrorObject.of(error), as_json=False)
    return code
