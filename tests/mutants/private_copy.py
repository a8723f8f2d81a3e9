"""Private copy of the tree, in which one mutant at a time is tried; the tree itself is never changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.mutants.catalogue import ROOT, Mutant, Stale, mutated

_NOT_COPIED: Final = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "build", "dist", "__pycache__"
)

TEST_TIMEOUT_S: Final = 60
"""A mutant may make a test hang: then it is noticed, too. No test of a selection takes a fraction of this."""

RUN_TIMEOUT_S: Final = 600
"""A whole selection. Beyond it the tests did not run, which proves nothing."""

_TESTS_PASSED, _TESTS_FAILED = 0, 1  # exit codes of pytest; all others say that the tests did not run
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Verdict(StrEnum):
    """Result of the tests of one mutant."""

    KILLED = "KILLED"
    SURVIVED = "SURVIVED"
    STALE = "STALE"
    BROKEN = "BROKEN"
    """The tests could not be run, so that nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A mutant that was tried. ``by``: the first test that failed, or why there is no verdict."""

    mutant: Mutant
    verdict: Verdict
    by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PytestRun:
    """Exit code and output of pytest."""

    code: int
    output: str

    @property
    def first_failed(self) -> str:
        """Name of the first test that failed; else the last line."""
        failed = _FAILED.search(self.output)
        return (
            failed.group(1).rpartition("::")[2] if failed else (self.output.strip() or "-").splitlines()[-1]
        )


class PrivateCopy:
    """Copy of the tree below ``folder``. To be used by one thread."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self._tree = folder / "tree"
        self._edits = 0
        shutil.copytree(root, self._tree, ignore=_NOT_COPIED, symlinks=True)

    def try_mutant(self, mutant: Mutant) -> Trial:
        """Run the mutant's tests on its change, which is undone afterwards."""
        started = time.monotonic()
        try:
            with self._applied(mutant):
                run = self.run(mutant.tests)
        except Stale as error:
            return Trial(mutant=mutant, verdict=Verdict.STALE, by=str(error), seconds=0.0)
        verdicts = {_TESTS_PASSED: Verdict.SURVIVED, _TESTS_FAILED: Verdict.KILLED}
        verdict = verdicts.get(run.code, Verdict.BROKEN)
        by = "-" if verdict is Verdict.SURVIVED else run.first_failed
        return Trial(mutant=mutant, verdict=verdict, by=by, seconds=time.monotonic() - started)

    def run(self, tests: Sequence[str], *words: str) -> PytestRun:
        """Run these tests, up to the first that fails."""
        command = [
            sys.executable, "-m", "pytest", *tests, "-x", "-q", "--no-header", "-rfE", "--tb=no", "-m", "not slow",
            "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout", str(TEST_TIMEOUT_S), *words,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(self._tree)}
        try:
            done = subprocess.run(
                command,
                cwd=self._tree,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return PytestRun(-1, f"the tests took more than {RUN_TIMEOUT_S} s")
        return PytestRun(done.returncode, done.stdout or done.stderr)

    @contextmanager
    def _applied(self, mutant: Mutant) -> Iterator[None]:
        file = self._tree / mutant.file
        before = file.read_text("utf-8")
        self._write(file, mutated(mutant, before))
        try:
            yield
        finally:
            self._write(file, before)

    def _write(self, file: Path, text: str) -> None:
        """Write with a time of its own: Python takes compiled code of the same second and size for that of the file."""
        file.write_text(text, "utf-8")
        self._edits += 1
        second = int(time.time()) + self._edits
        os.utime(file, (second, second))
