"""Child processes that the kernel ends with their parent, with output to files.

``python -m workers.dev.child_process PARENT PROGRAM …`` sets the parent-death signal
(prctl(2), PR_SET_PDEATHSIG) to SIGKILL, then executes the program.
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

_INHERITED_VARIABLES: Final = ("LANG", "LC_ALL", "TZ", "PATH", "HOME", "TMPDIR")


class Child:
    """A running program. Start it in the main thread: the parent-death signal follows the forking thread."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        inherited = {key: os.environ[key] for key in _INHERITED_VARIABLES if key in os.environ}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "workers.dev.child_process", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, **(environment or {})},
                start_new_session=True,  # Ctrl-C on a terminal reaches the parent only, which stops children in order
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program; None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Send SIGTERM, without waiting."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float) -> int:
        """Send SIGTERM, and SIGKILL after ``timeout_s``; return the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def log_tail(self, lines: int = 12) -> str:
        """Last lines of the program's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # without a shell on purpose
