"""Worker of a private stack: readiness, and a start that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rig.rig import MakeRig
from workers.dev.worker_process import WorkerFailed, WorkerProcess, free_ports


def test_a_worker_is_ready_when_it_has_published_its_directories(make_rig: MakeRig, tmp_path: Path) -> None:
    """It answers then, and nobody answers after it was stopped."""
    (port,) = free_ports(1)
    worker = WorkerProcess(1, make_rig().config(1, port), port=port, logs=tmp_path)
    try:
        worker.wait_until_ready(directories=1)
        worker.check()
        assert worker.page("/no-such-page") is None
    finally:
        worker.stop()
    assert worker.page("/readyz") is None
    with pytest.raises(WorkerFailed, match="worker-1 ended with 0"):
        worker.check()


def test_a_worker_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    """The error has the exit code and the end of the log, and comes before the time is over."""
    (port,) = free_ports(1)
    worker = WorkerProcess(1, tmp_path / "missing.toml", port=port, logs=tmp_path)
    with pytest.raises(WorkerFailed, match=r"worker-1 ended with [^0](.|\n)*missing\.toml"):
        worker.wait_until_ready(directories=1)


def test_free_ports_are_distinct() -> None:
    """No port is given twice."""
    assert len(set(free_ports(8))) == 8
