"""Reading /proc: fields are counted right whatever a process is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.measurement.procfs import TICKS_PER_S, ProcessGone, all_processes, cpu_times, process_stat, tree

WriteStat = Callable[..., None]


@pytest.fixture
def write_stat(tmp_path: Path) -> WriteStat:
    """Write /proc/PID/stat as proc(5) lays it out, with times in seconds."""

    def write(
        pid: int, *, parent: int = 1, name: str = "x", cpu_s: float = 0.0, reaped_s: float = 0.0
    ) -> None:
        directory = tmp_path / str(pid)
        directory.mkdir(exist_ok=True)
        before = f"{pid} ({name}) S {parent} " + "0 " * 9  # fields 1 to 13
        times = f"{round(cpu_s * TICKS_PER_S)} 0 {round(reaped_s * TICKS_PER_S)} 0 "
        (directory / "stat").write_text(before + times + "20 0 1 0 0\n")

    return write


def test_cpu_and_parent_are_read(tmp_path: Path, write_stat: WriteStat) -> None:
    """User and system time of the process, and of its reaped children, are kept apart."""
    write_stat(7, parent=3, cpu_s=1.5, reaped_s=0.25)
    stat = process_stat(7, tmp_path)
    assert (stat.parent, stat.cpu_s, stat.reaped_s) == (3, 1.5, 0.25)


@pytest.mark.parametrize("name", ["redis-server", "a b", "x) S 9 (y", "((", ")"])
def test_a_name_with_blanks_and_parentheses_shifts_nothing(
    name: str, tmp_path: Path, write_stat: WriteStat
) -> None:
    """Fields are counted from the last parenthesis."""
    write_stat(7, parent=3, name=name, cpu_s=2.0)
    stat = process_stat(7, tmp_path)
    assert (stat.parent, stat.cpu_s) == (3, 2.0)


def test_a_process_that_left_is_told_apart(tmp_path: Path) -> None:
    """A missing process raises ProcessGone, never zero."""
    with pytest.raises(ProcessGone):
        process_stat(7, tmp_path)


def test_the_tree_holds_descendants_only(tmp_path: Path, write_stat: WriteStat) -> None:
    """Children of children belong to the tree, siblings and roots that left do not."""
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1), (21, 20)):
        write_stat(pid, parent=parent)
    (tmp_path / "uptime").write_text("1 1")  # what is not a process is stepped over
    assert tree({10, 99}, all_processes(tmp_path)) == {10, 11, 12}


def test_machine_times_are_sums_of_the_right_columns(tmp_path: Path) -> None:
    """Busy has neither idle, iowait nor steal in it."""
    ticks = TICKS_PER_S
    words = [str(seconds * ticks) for seconds in (1, 2, 3, 40, 5, 6, 7, 8, 0, 0)]
    (tmp_path / "stat").write_text(f"cpu  {' '.join(words)}\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    times = cpu_times(tmp_path)
    assert (times.busy_s, times.idle_s, times.steal_s) == (1 + 2 + 3 + 6 + 7, 45, 8)


def test_this_process_is_found_by_the_real_proc() -> None:
    """The layout assumed here is that of the kernel that runs the tests."""
    import os

    assert process_stat(os.getpid()).parent == os.getppid()
    assert cpu_times().busy_s > 0
