"""The wheel on a build host: its commands load without the worker's libraries, and the others name what they
need.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = """
import sys
class NoWorkerPackages:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pkcs11", "prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NoWorkerPackages())
from workers.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def sigmill(*words: str) -> subprocess.CompletedProcess[str]:
    """``sigmill`` in a Python that cannot import the packages of the extra."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", ["sign", "submit", "wait", "verify", "status", "clients"])
def test_commands_of_a_build_host_load_without_the_extra(command: str) -> None:
    """A build host has neither an HSM library nor a metrics server."""
    done = sigmill(command, "--help")
    assert done.returncode == 0, done.stderr


def test_a_command_of_the_service_names_the_extra(tmp_path: Path) -> None:
    """One sentence and the command to type, never a traceback."""
    done = sigmill("worker", "--config", str(tmp_path / "sigmill.toml"))
    assert done.returncode == 2
    assert "install.incomplete" in done.stderr
    assert "pip install 'sigmill[worker]'" in done.stderr
    assert "Traceback" not in done.stderr
