"""Processes and CPUs as Linux shows them under /proc (proc(5)), as numbers with units."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from queueing.files.folders import entries

PROC: Final = Path("/proc")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class ProcessGone(RuntimeError):
    """The process ended, so what it used can no longer be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    """One line of /proc/PID/stat. CPU is user and system, over all threads, those that ended included.

    ``reaped_s`` is the CPU of children that ended and were waited for, with their own reaped children.
    """

    pid: int
    parent: int
    cpu_s: float
    reaped_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """The first line of /proc/stat, summed over CPUs, since boot."""

    busy_s: float
    idle_s: float
    steal_s: float


def process_stat(pid: int, proc: Path = PROC) -> ProcessStat:
    """The process as it is now; raises ``ProcessGone``. Resolution: one tick, usually 10 ms."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(f"process {pid} is gone") from None
    # the command's name is in parentheses and may hold blanks and parentheses: count from the last one
    fields = text[text.rindex(")") + 2 :].split()
    utime, stime, cutime, cstime = (int(value) / TICKS_PER_S for value in fields[11:15])  # fields 14 to 17
    return ProcessStat(pid=pid, parent=int(fields[1]), cpu_s=utime + stime, reaped_s=cutime + cstime)


def all_processes(proc: Path = PROC) -> dict[int, ProcessStat]:
    """Every process that is there now, by pid."""
    found = {}
    for entry in entries(proc):
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = process_stat(int(entry.name), proc)
            except ProcessGone:
                continue
    return found


def tree(roots: set[int], processes: dict[int, ProcessStat]) -> set[int]:
    """``roots`` and all their descendants among ``processes``."""
    children: dict[int, list[int]] = {}
    for stat in processes.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu_times(proc: Path = PROC) -> CpuTimes:
    """CPU time of all CPUs since boot. Guests of this machine are inside user time, waiting for disks is idle."""
    for line in (proc / "stat").read_text().splitlines():
        if line.startswith("cpu "):
            user, nice, system, idle, iowait, irq, softirq, steal = (
                int(value) / TICKS_PER_S for value in line.split()[1:9]
            )
            busy_s = user + nice + system + irq + softirq
            return CpuTimes(busy_s=busy_s, idle_s=idle + iowait, steal_s=steal)
    raise RuntimeError("no line of all CPUs in /proc/stat")
