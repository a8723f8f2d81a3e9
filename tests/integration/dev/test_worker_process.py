"""Worker of a private stack: readiness, and a start that fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import BLOCK_PORTS, FIRST_PORT, free_port
from tests.support.rig.rig import MakeRig
from workers.dev.worker_process import WorkerFailed, WorkerProcess, free_ports


def test_a_worker_is_ready_when_it_has_published_its_directories(make_rig: MakeRig, tmp_path: Path) -> None:
    """Its pages answer then, and do not after it was stopped."""
    (port,) = free_ports(1)
    worker = WorkerProcess(1, make_rig().config(1, port), port=port, logs=tmp_path)
    try:
        worker.wait_until_ready(directories=1)
        worker.check()
        assert worker.page("/no-such-page") is None
    finally:
        worker.stop()
    assert worker.page("/readyz") is None
    with pytest.raises(WorkerFailed, match="worker-1 ended with 0"):
        worker.check()


def test_a_worker_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    """The error has the exit code and the end of the log, and comes before the time is over."""
    (port,) = free_ports(1)
    worker = WorkerProcess(1, tmp_path / "missing.toml", port=port, logs=tmp_path)
    with pytest.raises(WorkerFailed, match=r"worker-1 ended with [^0](.|\n)*missing\.toml"):
        worker.wait_until_ready(directories=1)


def test_free_ports_are_distinct_and_none_of_outgoing_connections() -> None:
    """No port is given twice, and none is one that the kernel gives to a connection before its server binds it."""
    ports = free_ports(8)
    assert len(set(ports)) == 8
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not [port for port in ports if first <= port <= last]


def test_processes_of_tests_have_ports_of_their_own() -> None:
    """Each takes a block that no other has, so that a server which is started again finds its port free."""
    words = [sys.executable, "-c", "from tests.support.ports import free_port; print(free_port()); input()"]
    others = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        ports = [int(other.stdout.readline()) for other in others if other.stdout is not None]
    finally:
        for other in others:
            other.communicate("\n", timeout=60)
    assert len({(port - FIRST_PORT) // BLOCK_PORTS for port in [*ports, free_port()]}) == 4
