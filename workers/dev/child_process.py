"""Child processes that end with us, whatever ends us, and whose output goes to files.

``python -m workers.dev.child_process PARENT PROGRAM …`` asks the kernel for SIGKILL at the parent's death, then becomes
the program.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from workers.hsm.process_hardening import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PASSED_ON: Final = ("LANG", "LC_ALL", "TZ", "PATH", "HOME", "TMPDIR")


class Child:
    """A running program. To be started by the main thread: the kernel watches the thread that forks."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "workers.dev.child_process", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, **(environment or {})},
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone, and we stop it in order
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float) -> int:
        """SIGTERM, then SIGKILL after ``timeout_s``; the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # no shell is the point
