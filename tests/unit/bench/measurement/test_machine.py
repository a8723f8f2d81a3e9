"""Whether the machine was busy with something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.measurement import machine
from bench.measurement.machine import Busyness, BusynessReading
from bench.measurement.procfs import TICKS_PER_S

CHILD, STRANGER, SERVER = 900_001, 900_002, 900_003


class FakeProc:
    """A /proc with two CPUs' worth of time, moved by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cpu_s = {os.getpid(): 0.0, CHILD: 0.0, STRANGER: 0.0, SERVER: 0.0}
        self.reaped_s = dict.fromkeys(self.cpu_s, 0.0)
        self.busy_s = self.idle_s = self.steal_s = 0.0
        self.write()

    def write(self) -> None:
        for pid, cpu_s in self.cpu_s.items():
            parent = os.getpid() if pid == CHILD else 1
            entry = self.directory / str(pid)
            entry.mkdir(exist_ok=True)
            times = f"{_ticks(cpu_s)} 0 {_ticks(self.reaped_s[pid])} 0"
            (entry / "stat").write_text(f"{pid} (x) S {parent} {'0 ' * 9}{times} 20 0\n")
        words = f"{_ticks(self.busy_s)} 0 0 {_ticks(self.idle_s)} 0 0 0 {_ticks(self.steal_s)} 0 0"
        (self.directory / "stat").write_text(f"cpu  {words}\n")


def _ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_S)


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


def test_own_work_is_not_a_disturbance(proc: FakeProc) -> None:
    """CPU time of this process, its children and their reaped children counts as own."""
    with Busyness(proc=proc.directory) as busy:
        proc.cpu_s[os.getpid()], proc.cpu_s[CHILD], proc.reaped_s[CHILD] = 2.0, 5.0, 3.0
        proc.busy_s, proc.idle_s = 10.0, 10.0
        proc.write()
    assert busy.reading.own_share == pytest.approx(0.5)
    assert busy.reading.other_share == pytest.approx(0.0)
    assert not busy.reading.disturbed


def test_the_work_of_others_is_seen(proc: FakeProc) -> None:
    """Busy time that is not own counts as foreign, by share of the whole machine."""
    with Busyness(proc=proc.directory) as busy:
        proc.cpu_s[CHILD], proc.cpu_s[STRANGER] = 10.0, 4.0
        proc.busy_s, proc.idle_s = 14.0, 6.0
        proc.write()
    assert busy.reading.other_share == pytest.approx(0.2)
    assert busy.reading.disturbed


def test_a_server_of_another_parent_counts_as_own_where_it_is_named(proc: FakeProc) -> None:
    """Its CPU time is no disturbance."""
    with Busyness([SERVER], proc=proc.directory) as busy:
        proc.cpu_s[SERVER] = 4.0
        proc.busy_s, proc.idle_s = 4.0, 16.0
        proc.write()
    assert busy.reading.other_share == pytest.approx(0.0)


def test_steal_is_a_disturbance(proc: FakeProc) -> None:
    """Time that the hypervisor takes is counted apart from that of other processes."""
    with Busyness(proc=proc.directory) as busy:
        proc.idle_s, proc.steal_s = 18.0, 2.0
        proc.write()
    assert busy.reading.steal_share == pytest.approx(0.1)
    assert busy.reading.disturbed


@pytest.mark.parametrize("other,steal,disturbed", [(0.10, 0.05, False), (0.11, 0.0, True), (0.0, 0.06, True)])
def test_the_limits_are_inclusive(other: float, steal: float, disturbed: bool) -> None:
    """Up to the stated shares the machine counts as quiet."""
    reading = BusynessReading(seconds=1.0, own_share=0.5, other_share=other, steal_share=steal)
    assert reading.disturbed is disturbed


def test_there_is_no_reading_before_the_end(proc: FakeProc) -> None:
    """A reading that is not finished cannot be taken for one."""
    busy = Busyness(proc=proc.directory)
    with pytest.raises(RuntimeError):
        _ = busy.reading
    with pytest.raises(RuntimeError):
        busy.so_far()


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, cores and package versions are there; a program that is missing is left out."""
    monkeypatch.setattr(machine, "VERSION_COMMANDS", {"none": ("sigmill-no-such-program", "--version")})
    found = machine.describe()
    assert found.cpu_model
    assert found.cores >= 1
    assert "msgspec" in found.versions
    assert "none" not in found.versions
