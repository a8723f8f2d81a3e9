"""Samples of a running testbed: CPU and memory by group, Redis' memory, bytes of log and record, and the machine."""

from __future__ import annotations

import contextlib
import stat
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bench.day.processes import CLIENT, LANES, REDIS, WORKER, CommandLines, CpuLedger, pss_bytes, rss_bytes
from bench.measurement.procfs import ProcessStat, all_processes, cpu_times
from queueing.files.folders import entries
from queueing.protocol.algorithms import KeyKind
from queueing.redis.errors import REDIS_ERRORS
from workers.journal.retention import folder_bytes
from workers.record.exchange import SealerStatus, read_status

if TYPE_CHECKING:
    from bench.load.supervisor import LoadProcess
    from bench.testbed.testbed import BenchTestbed

RECORD_SAMPLES: Final = 10


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The testbed at one moment. CPU is that of all processes so far; ``redis_bytes`` None: it did not answer.

    ``log_bytes`` and ``record_bytes`` are of all workers, ``seal_lag_s`` the longest of their sealers'. ``machine_*``: of all CPUs,
    since boot.
    """

    at_s: float
    cpu_s: dict[str, float]
    rss_bytes: dict[str, int]
    processes: dict[str, int]
    redis_bytes: int | None
    log_bytes: int
    record_bytes: int
    seal_lag_s: float
    machine_busy_s: float
    machine_idle_s: float
    machine_steal_s: float

    @property
    def lanes(self) -> int:
        """Number of running lanes of tenants."""
        return sum(self.processes.get(group, 0) for group in LANES)


class Observer:
    """Takes samples; times are seconds from its ``start``."""

    def __init__(self, testbed: BenchTestbed, load: LoadProcess, kinds: Mapping[str, KeyKind]) -> None:
        self._testbed = testbed
        self._load = load
        self._commands = CommandLines(kinds)
        self._ledger = CpuLedger()
        self._began = time.monotonic()
        self._record_bytes = 0
        self.samples: list[Sample] = []
        self.lane_pss_bytes: list[int] = []

    def start(self) -> None:
        """Let the time begin."""
        self._began = time.monotonic()

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def sample(self, *, last: bool = False) -> Sample:
        """Take one, and keep it. Costs a pass over /proc and one INFO; every tenth, and the last, reads the sizes of the record's files."""
        if last or len(self.samples) % RECORD_SAMPLES == 0:
            self._record_bytes = sum(tree_bytes(folder / "record") for folder in self._testbed.state_dirs)
        processes = all_processes()
        groups = self._groups(processes)
        rss: Counter[str] = Counter()
        for pid, group in groups.items():
            rss[group] += rss_bytes(pid)
        machine = cpu_times()
        status = [found for folder in self._testbed.state_dirs if (found := read_status(folder)) is not None]
        sample = Sample(
            at_s=self.elapsed_s(),
            cpu_s=self._ledger.look(groups, {pid: processes[pid].cpu_s for pid in groups}),
            rss_bytes=dict(rss),
            processes=dict(Counter(groups.values())),
            redis_bytes=self._redis_bytes(),
            log_bytes=sum(folder_bytes(folder / "wal") for folder in self._testbed.state_dirs),
            record_bytes=self._record_bytes,
            seal_lag_s=_longest_lag_s(status),
            machine_busy_s=machine.busy_s,
            machine_idle_s=machine.idle_s,
            machine_steal_s=machine.steal_s,
        )
        self.samples.append(sample)
        return sample

    def weigh_lanes(self) -> None:
        """Memory of each lane that runs now, of shared pages its share."""
        groups = self._groups(all_processes())
        self.lane_pss_bytes = [pss_bytes(pid) for pid, group in groups.items() if group in LANES]

    def _groups(self, processes: Mapping[int, ProcessStat]) -> dict[int, str]:
        roots = {
            CLIENT: [self._load.pid],
            REDIS: self._testbed.redis_pids,
            WORKER: self._testbed.worker_pids,
        }
        return self._commands.groups(roots, processes)

    def _redis_bytes(self) -> int | None:
        try:
            return int(self._testbed.redis.info("memory")["used_memory"])
        except REDIS_ERRORS:
            return None


def tree_bytes(folder: Path) -> int:
    """Size of all files below a folder, without those that vanish meanwhile; 0 where there is none."""
    total = 0
    for file in entries(folder, missing_ok=True):
        with contextlib.suppress(OSError):
            found = file.stat()
            total += tree_bytes(file) if stat.S_ISDIR(found.st_mode) else found.st_size
    return total


def _longest_lag_s(status: list[SealerStatus]) -> float:
    now_ns = time.monotonic_ns()
    return max((each.lag_s(now_ns) for each in status), default=0.0)
