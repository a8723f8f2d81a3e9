"""Processes that come and go, by group, from a made-up /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.day.processes import (
    CLIENT,
    SEALER,
    SERVICE_LANE,
    WORKER,
    CommandLines,
    CpuLedger,
    group_of_child,
    lane_group,
    pss_bytes,
    rss_bytes,
)
from bench.measurement.procfs import ProcessStat
from queueing.protocol.algorithms import KeyKind

KINDS = {"acme": KeyKind.RSA_3072, "globex": KeyKind.P256}
LANE = ["python", "-I", "-m", "workers.lanes", "--token", "t"]


@pytest.mark.parametrize(
    "arguments,group",
    [
        ([*LANE, "--tenant", "acme"], lane_group(KeyKind.RSA_3072)),
        ([*LANE, "--tenant", "globex", "--cpu", "1"], lane_group(KeyKind.P256)),
        (LANE, SERVICE_LANE),
        (["python", "-m", "workers.cli", "sealer", "--config", "x"], SEALER),
        (["python", "-m", "workers.cli", "worker"], WORKER),
        ([], WORKER),
    ],
    ids=["rsa lane", "p256 lane", "service lane", "sealer", "not executed yet", "ended"],
)
def test_children_of_a_worker_are_told_apart(arguments: list[str], group: str) -> None:
    assert group_of_child(arguments, KINDS) == group


def stat(pid: int, parent: int, cpu_s: float = 0.0) -> ProcessStat:
    return ProcessStat(pid=pid, parent=parent, cpu_s=cpu_s, reaped_s=0.0)


def write_cmdline(proc: Path, pid: int, *arguments: str) -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "cmdline").write_bytes("\0".join(arguments).encode() + b"\0")


def test_a_child_is_read_again_until_it_is_executed(tmp_path: Path) -> None:
    """Between fork and exec a lane has its worker's command line; a client's child stays a client's."""
    lines = CommandLines(KINDS, tmp_path)
    processes = {pid: stat(pid, parent) for pid, parent in ((10, 1), (11, 10), (20, 1), (21, 20))}
    roots = {WORKER: [10], CLIENT: [20]}
    write_cmdline(tmp_path, 11, "python", "-m", "workers.cli", "worker")
    assert lines.groups(roots, processes) == {10: WORKER, 11: WORKER, 20: CLIENT, 21: CLIENT}
    write_cmdline(tmp_path, 11, *LANE, "--tenant", "acme")
    assert lines.groups(roots, processes)[11] == lane_group(KeyKind.RSA_3072)


def test_cpu_of_a_process_that_ended_still_counts() -> None:
    ledger = CpuLedger()
    ledger.look({1: "lane", 2: "lane", 3: WORKER}, {1: 1.0, 2: 2.0, 3: 5.0})
    assert ledger.look({2: "lane", 3: WORKER}, {2: 2.5, 3: 6.0}) == {"lane": 3.5, WORKER: 6.0}
    assert ledger.look({3: WORKER}, {3: 7.0}) == {"lane": 3.5, WORKER: 7.0}


def test_a_pid_with_less_cpu_is_another_process() -> None:
    """Pids are used again: the first one's CPU is kept, and the second's begins at nothing."""
    ledger = CpuLedger()
    ledger.look({1: "lane"}, {1: 4.0})
    assert ledger.look({1: "lane"}, {1: 0.5}) == {"lane": 4.5}


def test_cpu_before_the_exec_stays_with_the_group_of_then() -> None:
    """What a lane used before it was known as one is not counted twice."""
    ledger = CpuLedger()
    ledger.look({1: WORKER}, {1: 0.1})
    found = ledger.look({1: "lane"}, {1: 0.3})
    assert sum(found.values()) == pytest.approx(0.3)


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "statm").write_text("5000 1000 200 1 0 600 0\n")
    (tmp_path / "7" / "smaps_rollup").write_text(
        "55 ---p [rollup]\nRss: 4000 kB\nPss: 1500 kB\nPss_Anon: 9 kB\n"
    )
    assert rss_bytes(7, tmp_path) % 1000 == 0
    assert rss_bytes(7, tmp_path) > 0
    assert pss_bytes(7, tmp_path) == 1500 * 1024


def test_a_process_that_ended_has_no_memory(tmp_path: Path) -> None:
    assert (rss_bytes(8, tmp_path), pss_bytes(8, tmp_path)) == (0, 0)
