"""Running workers of a state directory, and the outcome of a worker's last reload."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.state.running_workers import PidLock, ReloadReport, last_report, running_workers

REPORT = ReloadReport(started_ns=1, took_s=0.5, outcome="adopted", epoch=4, tenants=2)


def test_a_worker_is_found_while_it_holds_its_lock(tmp_path: Path) -> None:
    """The process id is listed from ``set`` until ``remove``, and no file is left."""
    assert list(running_workers(tmp_path)) == []
    lock = PidLock(tmp_path)
    lock.set()
    assert list(running_workers(tmp_path)) == [os.getpid()]
    lock.report(REPORT)
    lock.remove()
    assert list(running_workers(tmp_path)) == []
    assert list((tmp_path / "workers").iterdir()) == []


def test_the_last_report_is_read_back(tmp_path: Path) -> None:
    """A later report replaces an earlier one; before the first there is none."""
    lock = PidLock(tmp_path)
    lock.set()
    assert last_report(tmp_path, os.getpid()) is None
    lock.report(ReloadReport(started_ns=0, took_s=0, outcome="refused", epoch=0, tenants=0))
    lock.report(REPORT)
    assert last_report(tmp_path, os.getpid()) == REPORT
    lock.remove()


@pytest.mark.parametrize("raw", [b"{", b'{"problem": "\xff"}', b'{"x": ' + b"[" * 100_000])
def test_a_damaged_report_is_no_report(tmp_path: Path, raw: bytes) -> None:
    """A command waits for one that it can read."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "7.reload").write_bytes(raw)
    assert last_report(tmp_path, 7) is None


def test_a_name_that_is_no_process_id_is_no_worker(tmp_path: Path) -> None:
    """Only decimal digits of ASCII are a process id."""
    (tmp_path / "workers").mkdir()
    for name in ("\u00b2", "9" * 11, "x"):
        (tmp_path / "workers" / name).touch()
    assert list(running_workers(tmp_path)) == []


@pytest.mark.parametrize("left", [("7",), ("7", "7.reload"), ("7", "7.new")])
def test_files_of_dead_workers_are_removed(tmp_path: Path, left: tuple[str, ...]) -> None:
    """A file without a lock is of a dead process; its report and its draft are removed with it."""
    folder = tmp_path / "workers"
    folder.mkdir()
    for name in left:
        (folder / name).touch()
    lock = PidLock(tmp_path)
    lock.set()
    assert [file.name for file in folder.iterdir()] == [str(os.getpid())]
    assert list(running_workers(tmp_path)) == [os.getpid()]
    lock.remove()


@pytest.mark.timeout(10)
def test_a_pipe_named_as_a_process_id_is_no_worker(tmp_path: Path) -> None:
    """Neither a command nor a worker that starts waits for it; the worker removes it."""
    (tmp_path / "workers").mkdir()
    os.mkfifo(tmp_path / "workers" / "7")
    assert list(running_workers(tmp_path)) == []
    lock = PidLock(tmp_path)
    lock.set()
    assert [file.name for file in (tmp_path / "workers").iterdir()] == [str(os.getpid())]
    lock.remove()
