"""Disks that are full, slow or read-only, as a worker meets them."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.rig.rig import WorkerProcess
from tests.support.tools import tool
from tests.support.waiting import until

ONE_LANE = {"acme": "lanes = 1"}
"""A lane that starts under ``limit_files`` inherits the limit, and SoftHSM rewrites token.object at each login: the
token would be destroyed, for all tests that share it. So these tests have one lane, which signs before the limit."""


def limit_files(pid: int, most_bytes: int) -> None:
    """No file of this process grows beyond that: what a full disk does (write(2), EFBIG for ENOSPC)."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


@contextmanager
def slow_sync(worker: WorkerProcess, delay_s: float, log: Path) -> Iterator[None]:
    """Each fdatasync of the worker takes so much longer; its lanes are left alone."""
    if not can_trace():
        pytest.skip("ptrace is forbidden here")
    inject = f"inject=fdatasync:delay_enter={int(delay_s * 1e6)}"
    tracer = subprocess.Popen(
        [
            tool("strace"),
            "-f",
            "-qq",
            "-o",
            str(log),
            "-e",
            "trace=fdatasync",
            "-e",
            inject,
            "-p",
            str(worker.pid),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        traced = Path(f"/proc/{worker.pid}/status")
        until(lambda: f"TracerPid:\t{tracer.pid}" in traced.read_text(), "strace is attached")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.kill()  # asked to end, it waits for the call that it delays
        tracer.wait()


@functools.cache
def can_trace() -> bool:
    """Whether ptrace(2) is allowed here; some sandboxes forbid it."""
    traced = subprocess.run(
        [tool("strace"), "-qq", "-o", os.devnull, "true"], capture_output=True, check=False
    )
    return traced.returncode == 0


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """A disk of its own at this folder; skips the test where nobody may mount one."""
    folder.mkdir(mode=0o700, parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("nobody may mount here; a limited file size stands in for it in test_outages.py")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write a file until the disk is full."""
    file = folder / "filler"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
    return file


def remount(folder: Path, mode: str) -> None:
    """``ro`` or ``rw``; a file that is open for writing holds it up for a moment."""
    deadline = time.monotonic() + 10
    while subprocess.run(
        ["mount", "-o", f"remount,{mode}", str(folder)], capture_output=True, check=False
    ).returncode:
        assert time.monotonic() < deadline, f"cannot be made {mode}"
        time.sleep(0.05)
