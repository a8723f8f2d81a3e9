"""Tests of the units in ops/systemd: valid, and with a limited exposure."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import tool
from workers.cli.commands import COMMANDS
from workers.config.settings import WorkerSettings

FOLDER = Path(__file__).parents[3] / "ops" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
INSTALLED = "/opt/sigmill/bin/sigmill"
EXPOSURE_AT_MOST = 2.5
"""Maximum exposure of 10 by systemd-analyze; the units give the reason for each option that is not used."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Units as an operator installs them, with an existing program in place of the command."""
    for name in UNITS:
        text = (FOLDER / name).read_text()
        assert INSTALLED in text
        instance = name.replace("@.", "@acme.")
        (tmp_path / instance).write_text(text.replace(INSTALLED, tool("true")))
    return tmp_path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("systemd-analyze"), "--no-pager", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_all_are_there() -> None:
    """There are units for the worker, its lanes, the sealer, the exporter, the relay and the three processes of the issuer."""
    wanted = ["exporter", "issuer-lane", "issuer-refresh", "issuer", "lane@", "relay", "sealer", "worker"]
    assert [f"sigmill-{name}.service" for name in wanted] == UNITS


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_mistake(name: str, units: Path) -> None:
    """systemd-analyze verify reports no error in a unit."""
    done = analyze("verify", units / name.replace("@.", "@acme."))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mistake_would_be_found(units: Path) -> None:
    """systemd-analyze verify reports an unknown directive."""
    file = units / "sigmill-worker.service"
    file.write_text(file.read_text().replace("ProtectHome=yes", "ProtectHomes=yes"))
    done = analyze("verify", file)
    assert "ProtectHomes" in done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_service_is_exposed_less_than_the_bound(name: str, units: Path) -> None:
    """The exposure of a service is below the maximum; 10 is a service without a sandbox."""
    file = units / name.replace("@.", "@acme.")
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST * 10:.0f}", file)
    assert done.returncode == 0, done.stdout
    found = json.loads(analyze("security", "--offline=true", "--json=short", file).stdout)
    assert {row["name"] for row in found if row["set"] is False}, "it measures something"


@pytest.mark.parametrize("name", UNITS)
def test_no_secret_is_in_a_unit_and_each_comes_as_a_credential(name: str) -> None:
    """Secrets are credentials; no argument or environment variable of a unit contains one."""
    text = (FOLDER / name).read_text()
    credentials = re.findall(r"^LoadCredential=(\S+):(\S+)$", text, re.MULTILINE)
    assert credentials or name in {
        "sigmill-sealer.service",
        "sigmill-issuer-refresh.service",
    }  # they have none
    assert all(source == f"/etc/sigmill/secrets/{name}" for name, source in credentials)
    assert not re.search(r"^(SetCredential|PassEnvironment|EnvironmentFile)", text, re.MULTILINE)


@pytest.mark.parametrize("name", UNITS)
def test_the_command_is_one_of_ours(name: str) -> None:
    """Each Exec line runs an existing ``sigmill`` command."""
    commands = re.findall(rf"^Exec\w+={INSTALLED} (\S+)", (FOLDER / name).read_text(), re.MULTILINE)
    assert commands
    assert set(commands) <= set(COMMANDS)


def test_a_worker_has_time_to_drain() -> None:
    """The stop time-out of the worker's unit is longer than the drain deadline."""
    found = re.search(
        r"^TimeoutStopSec=(\d+)$", (FOLDER / "sigmill-worker.service").read_text(), re.MULTILINE
    )
    assert found
    assert float(found.group(1)) >= WorkerSettings().drain_s + 5
