"""CPU per signature by process group."""

from __future__ import annotations

import os
import time

import pytest

from bench.measurement.cpu import CpuMeter, CpuSnapshot, cpu_between, redis_cpu_s
from bench.measurement.procfs import ProcessGone


def snapshot(**groups: dict[int, float]) -> CpuSnapshot:
    return CpuSnapshot(processes=groups)


def test_a_group_is_the_sum_of_its_processes() -> None:
    """Each process counts by what it used in between."""
    before = snapshot(lane={1: 1.0, 2: 5.0}, worker={3: 2.0})
    after = snapshot(lane={1: 1.5, 2: 5.25}, worker={3: 2.0})
    assert cpu_between(before, after) == {"lane": 0.75, "worker": 0.0}


def test_a_process_that_came_in_between_counts_from_its_start() -> None:
    """A lane that was started during the measurement is not free."""
    assert cpu_between(snapshot(lane={1: 1.0}), snapshot(lane={1: 1.0, 2: 0.5})) == {"lane": 0.5}


def test_a_process_that_left_spoils_the_measurement() -> None:
    """Its CPU is lost, so there is no sum."""
    with pytest.raises(ProcessGone, match="lane"):
        cpu_between(snapshot(lane={1: 1.0, 2: 1.0}), snapshot(lane={1: 2.0}))


def test_the_meter_sees_this_process_work() -> None:
    """A function is asked for its pids at each snapshot, and working costs CPU."""
    meter = CpuMeter({"client": [os.getpid()], "lane": lambda: [os.getpid()]})
    before = meter.snapshot()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    used = cpu_between(before, meter.snapshot())
    assert used["client"] == pytest.approx(used["lane"], abs=0.03)
    assert 0.02 < used["client"] < 5.0


def test_redis_tells_its_cpu_by_info() -> None:
    """User and system together; forked children are apart."""
    info: dict[str, object] = {
        "used_cpu_sys": 1.25,
        "used_cpu_user": "2.5",
        "used_cpu_sys_children": 9.0,
    }
    assert redis_cpu_s(info) == pytest.approx(3.75)
