"""CPU time per signature, by process group: client, redis, worker, lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.measurement.procfs import ProcessGone, process_stat

GROUPS: Final = ("client", "redis", "worker", "lane")  # the split of the report, in its order
Pids = Iterable[int] | Callable[[], Iterable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSnapshot:
    """CPU seconds at one moment, for each process of each group."""

    processes: Mapping[str, Mapping[int, float]]


class CpuMeter:
    """CPU seconds of groups of processes.

    A group is pids, or a function that gives them, for lanes that come and go. The clocks have ticks of
    10 ms: measure for a second at least. Redis is a group like the others (its pid); where only a connection
    is at hand, ``redis_cpu_s`` reads INFO.
    """

    def __init__(self, groups: Mapping[str, Pids]) -> None:
        self._groups = dict(groups)

    def snapshot(self) -> CpuSnapshot:
        """CPU time of each process so far; raises ``ProcessGone``."""
        return CpuSnapshot(
            processes={
                name: {pid: process_stat(pid).cpu_s for pid in _pids(pids)}
                for name, pids in self._groups.items()
            }
        )


def cpu_between(before: CpuSnapshot, after: CpuSnapshot) -> dict[str, float]:
    """CPU seconds of each group between two snapshots.

    A process that came in between counts from its start. One that left raises ``ProcessGone``: what it used
    is lost, and a sum without it would flatter.
    """
    used = {}
    for name, processes in after.processes.items():
        earlier = before.processes.get(name, {})
        if gone := sorted(set(earlier) - set(processes)):
            raise ProcessGone(f"{name}: process {gone[0]} ended during the measurement")
        used[name] = sum(cpu_s - earlier.get(pid, 0.0) for pid, cpu_s in processes.items())
    return used


def redis_cpu_s(info: Mapping[str, object]) -> float:
    """User and system CPU of redis-server by ``INFO cpu``: all threads, without forked children."""
    return float(str(info["used_cpu_user"])) + float(str(info["used_cpu_sys"]))


def _pids(pids: Pids) -> list[int]:
    return list(pids() if callable(pids) else pids)
