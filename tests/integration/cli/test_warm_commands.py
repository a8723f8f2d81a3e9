"""Commands of tests, which are forks of a process with the imports, beside ``sigmill`` in a Python of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sigmill_cli import Ran, environment, sigmill


def in_a_new_python(*words: str, config: Path) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", *words],
        env=environment({"SIGMILL_CONFIG": str(config)}),
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("keys", "list", "--json"),
        ("explain", "token.unavailable"),
        ("sign", "--key", "release", "gone.bin"),
    ],
    ids=" ".join,
)
def test_a_fork_says_what_a_python_of_its_own_says(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Both outputs and the exit code, with the words, the environment and the directory of its client."""
    config = tmp_path / "broken.toml"
    config.write_text("[service]\n")
    assert sigmill(*words, config=config) == in_a_new_python(*words, config=config)
