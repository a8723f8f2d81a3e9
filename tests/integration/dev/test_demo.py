"""The demonstration, small, as the process that ``make demo`` starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TIMEOUT_S = 90.0
MOST = 300


def demo(out: Path, temporary: Path, *more: str) -> subprocess.Popen[str]:
    """Start the demonstration with its scratch directory in ``temporary``."""
    return subprocess.Popen(
        [sys.executable, "-m", "workers.dev.demo", "--most", str(MOST), "--out", str(out), *more],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path: the path of a unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sd-", dir="/tmp") as folder:
        yield Path(folder)


def processes_below(folder: Path) -> list[str]:
    """Command lines that name the folder: Redis and the workers of a stack in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line and "workers.dev.demo" not in line:
                found.append(line)
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_demonstration_signs_verifies_and_ends(tmp_path: Path, temporary: Path, workers: str) -> None:
    """Exit code 0 means that everything was signed and verified and no process or file was left."""
    process = demo(tmp_path, temporary, "--workers", workers)
    out, err = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 0, out + err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["signed"], summary["verified"], summary["failed"]) == (MOST, MOST, 0)
    assert set(summary["algorithms"]) >= {"RSASSA_PKCS1_V1_5_SHA_256", "ECDSA_SHA_256"}
    assert len(summary["tenants"]) >= 3
    for row in (summary, *summary["tenants"].values(), *summary["algorithms"].values()):
        assert row["signed"] > 0
        assert row["elapsed_s"] > 0
        assert row["signatures_per_s"] > 0
    assert f"signed {MOST} of {MOST}" in err
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []
    assert (tmp_path / "logs" / "worker-1.log").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_the_demonstration_ends_its_stack(
    tmp_path: Path, temporary: Path, how: signal.Signals
) -> None:
    """Redis and the workers end with the demonstration, even when it is killed."""
    process = demo(tmp_path, temporary)
    deadline = time.monotonic() + TIMEOUT_S
    while len(processes_below(temporary)) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.send_signal(how)
    process.communicate(timeout=TIMEOUT_S)

    assert process.returncode != 0
    while processes_below(temporary):
        assert time.monotonic() < deadline, processes_below(temporary)
        time.sleep(0.02)


def test_no_secret_is_in_arguments_or_environments(tmp_path: Path, temporary: Path) -> None:
    """While the stack runs, PINs and the Redis password are in no command line, no environment and no log."""
    process = demo(tmp_path, temporary)
    seen: set[bytes] = set()
    secrets: set[bytes] = set()
    while process.poll() is None:
        for pattern in ("*/tokens/*/*pin", "*/redis/password"):
            for file in temporary.glob(pattern):
                with contextlib.suppress(FileNotFoundError):  # the demo removes its files while it ends
                    secrets |= {file.read_bytes().strip()} - {b""}
        for entry in Path("/proc").iterdir():
            for name in ("cmdline", "environ") if entry.name.isdigit() else ():
                try:
                    seen.add((entry / name).read_bytes())
                except OSError:
                    continue
        time.sleep(0.05)
    out, err = process.communicate()

    assert process.returncode == 0, err
    logs = b"".join(file.read_bytes() for file in (tmp_path / "logs").iterdir())
    assert len(secrets) == 9  # two PINs of four tokens, and the password
    everything = b"\n".join(seen)
    assert b"softhsm2.conf" in everything or b"sigmill.toml" in everything
    for secret in secrets:
        assert secret not in everything
        assert secret not in logs + out.encode() + err.encode()
