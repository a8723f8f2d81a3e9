"""The command that ``sigmill run`` runs: its start, the signals that it gets, its exit code."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from queueing.errors import InputUnreadable
from workers.cli.shell.output import ErrorObject, print_error

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes of a command that cannot be started, as in shells (POSIX, 2.8.2)."""

FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP)
"""Signals for the command. A terminal sends SIGINT and SIGQUIT to it directly: there it decides, and its end is ours."""

_SENT_BY_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)


async def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command with our stdin, stdout and stderr, and return its exit code; 128 + n after a signal."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        return _not_started(command[0], *_not_runnable(command[0], environment.get("PATH")))
    with _ForwardedSignals() as signals:
        try:
            child = await asyncio.create_subprocess_exec(*command, executable=program, env=dict(environment))
        except OSError as error:
            return _not_started(command[0], error.strerror or "cannot be run", NOT_EXECUTABLE)
        signals.send_to(child)
        code = await child.wait()
    return code if code >= 0 else 128 - code


class _ForwardedSignals:
    """Signal handlers for the time of one command, in place before it starts.

    The command may run and be seen before asyncio hands over its process: a signal of that moment waits for it. Signals that
    this process was started to ignore (nohup, a shell's background job) stay ignored, for the command too.
    """

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._early: list[int] = []
        self._handled: list[int] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (*FORWARDED, *_SENT_BY_TERMINAL):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._received, number)
                self._handled.append(number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._handled:
            loop.remove_signal_handler(number)

    def send_to(self, child: asyncio.subprocess.Process) -> None:
        """Send the signals of this process to the child from now on, first those that have come already."""
        self._child = child
        for number in self._early:
            self._received(number)

    def _received(self, number: int) -> None:
        if number not in FORWARDED:
            return
        if self._child is None:
            self._early.append(number)
        elif self._child.returncode is None:
            self._child.send_signal(number)


def _not_runnable(name: str, path: str | None) -> tuple[str, int]:
    """The sentence for a name by which no program was found, and its exit code: 126 for what is there."""
    if shutil.which(name, mode=os.F_OK, path=path) is not None:
        return "is not executable", NOT_EXECUTABLE
    try:
        found = "/" in name and stat.S_ISDIR(Path(name).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except OSError as error:
        return error.strerror or "cannot be read", NOT_EXECUTABLE
    return ("is a folder", NOT_EXECUTABLE) if found else ("no such program", NOT_FOUND)


def _not_started(name: str, problem: str, code: int) -> int:
    error = InputUnreadable(f"{name}: {problem}", hint="Give the command after `--`, as in a shell.")
    print_error(ErrorObject.of(error), as_json=False)
    return code
