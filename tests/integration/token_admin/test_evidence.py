"""A vendor's command has bounds: it gives its output, or an error that names what it did."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from queueing.errors import ConfigError
from tests.support.rig.processes import has_ended
from tests.support.waiting import until
from workers.token_admin.evidence import check_evidence_command, run_evidence

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "SIGMILL_KEY": "acme.release.v1"}


def run(program: str, *, timeout_s: float = 30.0) -> bytes:
    """The output of a Python program as the command."""
    return run_evidence("acme", (sys.executable, "-c", program), ENVIRONMENT, timeout_s=timeout_s)


def test_its_output_is_kept_as_it_is() -> None:
    """Bytes that are no text too; stderr is not part of it."""
    program = "import os, sys; sys.stdout.buffer.write(b'\\0\\xff' + os.environ['SIGMILL_KEY'].encode()); print('x', file=sys.stderr)"

    assert run(program) == b"\0\xffacme.release.v1"


@pytest.mark.parametrize(
    "program, problem",
    [
        ("import sys; print('no card in the reader', file=sys.stderr); sys.exit(3)", "ended with 3: no card in the reader"),
        ("while True: print('x' * 65536)", "printed more than 1024 kB"),
        ("pass", "printed nothing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was ended by signal 11"),
    ],
)  # fmt: skip
def test_a_command_that_fails_or_prints_without_end_is_told(program: str, problem: str) -> None:
    """The error has the exit code with the last line of stderr, the signal, or the limit."""
    with pytest.raises(ConfigError, match=problem):
        run(program)


@pytest.mark.parametrize(
    "program", ["import time; time.sleep(600)", "import os, time; os.close(1); os.close(2); time.sleep(600)"]
)
def test_a_command_that_hangs_ends_with_its_time(program: str) -> None:
    """A command that hangs, even with closed output, ends at the time-out."""
    with pytest.raises(ConfigError, match=r"did not end within 0\.5 s"):
        run(program, timeout_s=0.5)


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    """A child that holds the output open is killed at the time-out."""
    child, marker = "import time; time.sleep(600)", tmp_path / "pid"
    program = (
        f"import subprocess, sys; started = subprocess.Popen([sys.executable, '-c', {child!r}]);"
        f" open({str(marker)!r}, 'w').write(str(started.pid)); print('done')"
    )
    began = time.monotonic()

    with pytest.raises(ConfigError, match="did not end"):
        run(program, timeout_s=1.0)

    assert time.monotonic() - began < 60
    until(lambda: has_ended(int(marker.read_text())), "the child has ended")


def test_a_signal_at_its_start_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler runs once the command is known, although the signal came before."""
    started: list[int] = []

    class SignalledPopen(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            started.append(self.pid)
            signal.raise_signal(signal.SIGHUP)

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    monkeypatch.setattr(subprocess, "Popen", SignalledPopen)
    before = signal.signal(signal.SIGHUP, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("import time; time.sleep(600)")
        assert signal.getsignal(signal.SIGHUP) is stop
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: has_ended(started[0]), "the command has ended")


def test_a_command_that_is_not_there_is_named() -> None:
    """A command that does not exist is named by its path."""
    with pytest.raises(ConfigError, match="/no/such/tool` cannot be started"):
        run_evidence("acme", ("/no/such/tool",), ENVIRONMENT)


def test_a_command_that_cannot_be_started_is_noticed_before_it_is_needed(tmp_path: Path) -> None:
    """It is found as the system would find it: by its path, or by name in PATH."""
    plain = tmp_path / "attest"
    plain.write_text("#!/bin/sh\n")
    for words in (("/no/such/tool",), ("no-such-tool",), (str(tmp_path),), (str(plain),)):
        with pytest.raises(ConfigError, match="cannot be started"):
            check_evidence_command("acme", words, ENVIRONMENT)
    plain.chmod(0o755)
    check_evidence_command("acme", (str(plain), "--json"), ENVIRONMENT)
    check_evidence_command("acme", ("sh",), ENVIRONMENT)
