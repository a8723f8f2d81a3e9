"""States of workers, and warnings about differences between them."""

from __future__ import annotations

from typing import Any

import pytest

from queueing.coordination.worker_registry import RegisteredWorker
from tests.support.fakes.worker_reports import worker_info
from workers.cli.status.workers import notes_on, print_workers, worker_line


def seen(host: str, *, silent_s: float = 1.0, **changes: Any) -> RegisteredWorker:
    return RegisteredWorker(info=worker_info(**{"owner": f"{host}.7.aa", **changes}), silent_s=silent_s)


def test_states() -> None:
    """A worker that stopped reporting is silent whatever it reported last; a drain outranks readiness."""
    cases = [
        (seen("a"), "ready"),
        (seen("a", ready=False), "not-ready"),
        (seen("a", ready=False, draining=True), "draining"),
        (seen("a", silent_s=16.0, draining=True), "silent"),
    ]
    assert [worker_line(each).state for each, _ in cases] == [state for _, state in cases]


def test_differences_between_those_that_live_are_noted() -> None:
    """Different versions or epochs are noted of live workers only; a silent worker has a note of its own."""
    lines = [worker_line(each) for each in (seen("a"), seen("b", version="2.0", epoch=4))]
    assert notes_on(lines) == [
        "the workers have different versions: 1.0, 2.0",
        "the workers have different epochs of sigmill.toml: 3, 4",
    ]
    dead = worker_line(seen("b", version="2.0", silent_s=60.0))
    assert notes_on([lines[0], dead]) == ["b 7 stopped reporting without a clean shutdown (id aa)"]
    assert notes_on([]) == ["no worker reported within the last five minutes"]


def test_workers_of_one_host_name_and_process_id_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """In containers every worker may be process 1 of `worker`; the table shows the random part of its id."""
    lines = [
        worker_line(seen("worker", owner=f"worker.1.{part}", pid=1)) for part in ("0badcafe", "feedf00d")
    ]
    print_workers(lines)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["worker", "1", "0badcafe"]
    assert second.split()[:3] == ["worker", "1", "feedf00d"]
