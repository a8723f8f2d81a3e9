"""Reading of a worker's log by the harness."""

from __future__ import annotations

from pathlib import Path

from tests.faults.harness.observers import worker_events
from tests.faults.history import LaneEnded, Left


def test_lanes_that_ended_and_errors_that_nobody_expected_are_found(tmp_path: Path) -> None:
    """A traceback is a violation even where everything went well."""
    log = tmp_path / "worker-1.log"
    log.write_text(
        '{"ts": "2026-01-02T03:04:05.500Z", "event": "lane.ended", "token": "acme", "reason": "signal_9"}\n'
        '{"ts": "2026-01-02T03:04:06.000Z", "event": "lane.ready", "token": "acme"}\n'
        "Traceback (most recent call last):\n"
        "  File ...\n"
        '{"ts": "2026-01-02T03:04:07.000Z", "event": "log.broke", "exception": "Traceback ..."}\n'
    )
    lane, traceback, exception = worker_events("worker-1", log)
    assert isinstance(lane, LaneEnded)
    assert (lane.worker, lane.token, lane.reason, lane.at % 60) == ("worker-1", "acme", "signal_9", 5.5)
    assert isinstance(traceback, Left)
    assert isinstance(exception, Left)
