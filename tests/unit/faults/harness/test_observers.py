"""Reading of a worker's log by the harness."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.harness.numbered_log import LINE_NUMBER, PROCESS
from tests.faults.harness.observers import committed_since, log_events, worker_events
from tests.faults.history import Claimed, Commit, Left, LogLines, LogRecord, write_history
from workers.journal.records import CanaryIntentRecord, Record, UnknownRecord, encode_record
from workers.journal.segments import frame


def test_tracebacks_in_a_log_are_found(tmp_path: Path) -> None:
    """As lines of their own, and in an event."""
    log = tmp_path / "worker-1.log"
    log.write_text(
        '{"ts": "2026-01-02T03:04:06.000Z", "event": "lane.ready", "token": "acme"}\n'
        "Traceback (most recent call last):\n"
        "  File ...\n"
        '{"ts": "2026-01-02T03:04:07.000Z", "event": "log.broke", "exception": "Traceback ..."}\n'
    )
    traceback, exception = worker_events("worker-1", log)
    assert isinstance(traceback, Left)
    assert isinstance(exception, Left)


def line(number: int, event: str = "lane.ready", process: int = 7, **fields: int) -> str:
    entry = {
        "ts": "2026-01-02T03:04:06.000Z",
        "event": event,
        LINE_NUMBER: number,
        PROCESS: process,
        **fields,
    }
    return json.dumps(entry) + "\n"


def test_lines_that_are_not_there_are_counted_for_each_process(tmp_path: Path) -> None:
    """Each numbers its own; a line that is being written is none yet."""
    log = tmp_path / "worker-1.log"
    log.write_text(
        line(1)
        + line(5)
        + line(6, "logs.dropped", lines=3)
        + line(7, "service.stopped")
        + line(1, process=8)
        + line(3, process=8)
        + line(4, process=8)[:-3]
    )
    first, second = worker_events("worker-1", log)
    at = first.at
    assert first == LogLines(at=at, worker="worker-1", made=7, missing=3, told=3, complete=True)
    assert second == LogLines(at=at, worker="worker-1", made=3, missing=1, told=0, complete=False)


def test_a_worker_makes_progress_if_it_commits_what_it_claims_after_that_time(tmp_path: Path) -> None:
    """A job that it had claimed before may have been under way."""
    history = tmp_path / "history"
    claimed = Claimed(at=2, worker="w", tenant="acme", job="j", fence=1, from_s=2, until_s=4)
    commit = Commit(
        at=3, worker="w", tenant="acme", job="j", fence=1, began_at=2.9, how="committed", result=b""
    )
    write_history(history, [claimed, commit])
    assert committed_since(history, 1.5)
    assert not committed_since(history, 2.5)
    write_history(history, [claimed])
    assert not committed_since(history, 1.5)


def test_a_canary_that_a_worker_left_open_is_no_job(tmp_path: Path) -> None:
    """The next process closes it as unknown, as it does a job's intent."""
    canary = CanaryIntentRecord(1, "acme", b"canary:1", b"", "acme", "release", 1, bytes(32), "ED25519", b"")
    closed = [UnknownRecord(2, "acme", job, b"") for job in (b"canary:1", b"{acme}job")]
    records: list[Record] = [canary, *closed]
    (tmp_path / "00000001.wal").write_bytes(b"".join(frame(encode_record(record)) for record in records))
    (event,) = log_events("worker-1", tmp_path)
    assert isinstance(event, LogRecord)
    assert event.job == "{acme}job"
