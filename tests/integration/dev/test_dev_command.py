"""``sigmill dev`` prints lines that work in another shell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import ROOT, command_lines

TIMEOUT_S = 60.0
LINES_TIMEOUT_S = 300.0
"""Of the printed lines together: a dozen commands, each a start of Python beside what else this machine does."""


@contextlib.contextmanager
def dev(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The command in the foreground, ended with SIGINT afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "dev", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Output up to the line with these words."""
    assert process.stdout is not None
    printed = ""
    while words not in printed:
        line = process.stdout.readline()
        assert line, process.communicate()
        printed += line
    return printed


def readme_lines(client: Path) -> str:
    """Lines of the README that sign with a token alone, in the folder of a client of the stack."""
    lines = [line for line in command_lines(ROOT / "README.md") if "by-token/" in line]
    assert {line.split()[1] for line in lines} == {"login", "sign"}
    return "\n".join(
        [f"cd {client.parent}", "mkdir dist", "echo one >dist/one.bin", "echo two >dist/two.bin", *lines]
    )


@pytest.mark.timeout(LINES_TIMEOUT_S + 2 * TIMEOUT_S)
def test_the_printed_lines_work_in_a_fresh_shell() -> None:
    """They sign a file for each tenant: directly, over HTTPS, and with a token alone, as the README does; SIGINT stops everything."""
    with dev("--workers", "2") as process:
        lines = read_until(process, "tokens list")
        (acme,) = re.findall(r"CLIENT_CONFIG=(\S+/acme/client.toml)", lines)
        lines += f"{readme_lines(Path(acme))}\n"
        shell = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-e"],
            input=lines,
            env={"PATH": os.defpath},
            text=True,
            capture_output=True,
            check=False,
            timeout=LINES_TIMEOUT_S,
        )
    assert process.returncode == 0
    assert shell.returncode == 0, shell.stderr
    signed = [json.loads(line) for line in shell.stdout.splitlines() if line.startswith("{")]
    assert [line["name"] for line in signed] == ["/usr/bin/env"] * 9 + ["dist/one.bin", "dist/two.bin"]
    assert all(line["signature"] for line in signed)
    assert shell.stdout.count(".release.v1") == 3, "keys list"
    assert shell.stderr.count("unchanged") == 1, "the second worker's reload"


def test_where_everything_is_comes_as_json_too() -> None:
    """--json prints one object; its files, one of each worker among them, exist while the command runs and are gone afterwards."""
    with dev("--json", "--workers", "2", "--record") as process:
        running = json.loads(read_until(process, "}"))
        files = [Path(running["config"]), *map(Path, running["other_configs"])]
        for kind in ("clients", "relay_clients", "token_clients"):
            files += map(Path, running[kind].values())
        files.append(Path(running["service_keys"]))
        assert len(files) == 12
        assert all(file.is_file() for file in files)
        assert sorted(running["clients"]) == ["acme", "globex", "initech"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert "NOT FOR PRODUCTION" in err
    assert not any(file.exists() for file in files)
