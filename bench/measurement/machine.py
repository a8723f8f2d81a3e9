"""The machine under a measurement: what it is, and whether it was busy with something else."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Self

import msgspec

from bench.measurement.procfs import PROC, CpuTimes, all_processes, cpu_times, tree

PACKAGES: Final = (
    "arq",
    "cryptography",
    "hiredis",
    "msgspec",
    "python-pkcs11",
    "redis",
    "uvloop",
)
VERSION_COMMANDS: Final = {
    "softhsm": ("softhsm2-util", "--version"),
    "redis-server": ("redis-server", "--version"),
    "cc": ("cc", "--version"),
}
STEAL_SHARE_MAX: Final = 0.05  # of the machine's capacity: a twentieth moves a ratio by as much
OTHER_SHARE_MAX: Final = 0.10  # a desktop or an agent costs a few per cent; a build takes a core
COMMAND_TIMEOUT_S: Final = 10.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of the machine that a reader needs to judge or repeat a measurement."""

    cpu_model: str
    cores: int
    memory_bytes: int
    kernel: str
    system: str
    python: str
    versions: dict[str, str]


class BusynessReading(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the machine's whole capacity (cores x time) during a measurement."""

    seconds: float
    own_share: float
    other_share: float
    steal_share: float

    @property
    def disturbed(self) -> bool:
        """Whether the machine was visibly busy with something else: then no headline."""
        return self.steal_share > STEAL_SHARE_MAX or self.other_share > OTHER_SHARE_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    at_s: float
    machine: CpuTimes
    own_s: float


class Busyness:
    """A watcher: ``with Busyness() as busy: …`` and then ``busy.reading``.

    Own is this process and all its descendants, and ``roots`` with theirs (servers that were started by
    others). What a descendant used counts even if it ended, once its parent has waited for it. Ticks
    are 10 ms: watch a second at least. Costs one pass over /proc at each end.
    """

    def __init__(self, roots: Iterable[int] = (), *, proc: Path = PROC) -> None:
        self._roots = {os.getpid(), *roots}
        self._proc = proc
        self._before: _Moment | None = None
        self._reading: BusynessReading | None = None

    def __enter__(self) -> Self:
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self._reading = self.so_far()

    @property
    def reading(self) -> BusynessReading:
        """The finished reading; raises ``RuntimeError`` before the end."""
        if self._reading is None:
            raise RuntimeError("the measurement is not over")
        return self._reading

    def so_far(self) -> BusynessReading:
        """The reading from the start until now."""
        if self._before is None:
            raise RuntimeError("the measurement has not begun")
        return _between(self._before, self._now())

    def _now(self) -> _Moment:
        processes = all_processes(self._proc)
        own = tree(self._roots, processes)
        own_s = sum(processes[pid].cpu_s + processes[pid].reaped_s for pid in own)
        return _Moment(at_s=time.monotonic(), machine=cpu_times(self._proc), own_s=own_s)


def describe() -> Machine:
    """The machine and the versions of what is measured. Runs a few ``--version`` commands."""
    return Machine(
        cpu_model=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        python=platform.python_version(),
        versions={**_package_versions(), **_program_versions()},
    )


def _between(before: _Moment, after: _Moment) -> BusynessReading:
    busy_s = after.machine.busy_s - before.machine.busy_s
    idle_s = after.machine.idle_s - before.machine.idle_s
    steal_s = after.machine.steal_s - before.machine.steal_s
    own_s = max(0.0, after.own_s - before.own_s)
    capacity_s = max(busy_s + idle_s + steal_s, 1e-9)
    return BusynessReading(
        seconds=after.at_s - before.at_s,
        own_share=own_s / capacity_s,
        other_share=max(0.0, busy_s - own_s) / capacity_s,
        steal_share=steal_s / capacity_s,
    )


def _cpu_model() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", (PROC / "cpuinfo").read_text(), re.MULTILINE)
    return match.group(1) if match else platform.machine()


def _package_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _program_versions() -> dict[str, str]:
    found = {}
    for name, command in VERSION_COMMANDS.items():
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
        match = re.search(r"\d+(\.\d+)+", done.stdout)
        if match:
            found[name] = match.group()
    return found


def load_average() -> str:
    """Load average of the last minute, in words for a note."""
    return f"load average {os.getloadavg()[0]:.2f}"
