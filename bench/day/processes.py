"""CPU and memory of processes that come and go, by group: clients, Redis, workers, sealers, and lanes by kind of key.

``bench.measurement.cpu`` refuses a process that ends meanwhile. Here lanes end when they are idle and a worker is killed, so what a
process had used when it was last seen counts, and what it used after that (less than the time between two looks) is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.measurement.procfs import PROC, ProcessStat, tree
from queueing.protocol.algorithms import KeyKind

CLIENT: Final = "client"
REDIS: Final = "redis"
WORKER: Final = "worker"
SEALER: Final = "sealer"
SERVICE_LANE: Final = "service lane"
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def lane_group(kind: KeyKind) -> str:
    """Group of the lanes of keys of this kind."""
    return f"lane {kind}"


LANES: Final = tuple(lane_group(kind) for kind in KeyKind)


def group_of_child(arguments: Sequence[str], kinds: Mapping[str, KeyKind]) -> str:
    """Group of a child of a worker by its command line; ``kinds`` by tenant. A child that is not executed yet has its worker's."""
    if "workers.lanes" in arguments:
        if "--tenant" not in arguments:
            return SERVICE_LANE
        return lane_group(kinds[arguments[arguments.index("--tenant") + 1]])
    return SEALER if "sealer" in arguments else WORKER


class CommandLines:
    """Command lines of processes, each read once it is not its parent's any more."""

    def __init__(self, kinds: Mapping[str, KeyKind], proc: Path = PROC) -> None:
        self._kinds = kinds
        self._proc = proc
        self._known: dict[int, str] = {}

    def groups(
        self, roots: Mapping[str, Iterable[int]], processes: Mapping[int, ProcessStat]
    ) -> dict[int, str]:
        """Group of each process of the roots' trees; only workers have children of other groups."""
        found: dict[int, str] = {}
        for group, pids in roots.items():
            for pid in tree(set(pids), dict(processes)):
                found[pid] = self._child(pid) if group == WORKER and pid not in set(pids) else group
        self._known = {pid: group for pid, group in self._known.items() if pid in found}
        return found

    def _child(self, pid: int) -> str:
        if pid not in self._known:
            group = group_of_child(self._arguments(pid), self._kinds)
            if group == WORKER:
                return group
            self._known[pid] = group
        return self._known[pid]

    def _arguments(self, pid: int) -> list[str]:
        try:
            return (self._proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []


class CpuLedger:
    """CPU seconds by group, of all processes that were ever seen."""

    def __init__(self) -> None:
        self._last_s: dict[int, float] = {}
        self._sums: dict[str, float] = {}

    def look(self, groups: Mapping[int, str], cpu_s: Mapping[int, float]) -> dict[str, float]:
        """Count what these processes have used since the last look; the sums by group. A pid with less CPU than before is another process."""
        for pid, group in groups.items():
            last_s = self._last_s.get(pid, 0.0)
            used_s = cpu_s[pid] - last_s if cpu_s[pid] >= last_s else cpu_s[pid]
            self._sums[group] = self._sums.get(group, 0.0) + used_s
        self._last_s = {pid: cpu_s[pid] for pid in groups}
        return dict(self._sums)


def rss_bytes(pid: int, proc: Path = PROC) -> int:
    """Resident memory, pages that are shared with others included; 0 of a process that has ended."""
    try:
        return int((proc / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def pss_bytes(pid: int, proc: Path = PROC) -> int:
    """Resident memory, of shared pages the process's share: sums of it are true. Walks the process's pages; 0 where it has ended."""
    try:
        text = (proc / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
