"""States of workers, and warnings about differences between them."""

from __future__ import annotations

from typing import Any

from queueing.coordination.worker_registry import RegisteredWorker, WorkerInfo
from workers.cli.status.workers import notes_on, worker_line


def seen(host: str, *, silent_s: float = 1.0, **changes: Any) -> RegisteredWorker:
    facts: dict[str, Any] = {
        "owner": f"{host}.7.aa",
        "pid": 7,
        "version": "1.0",
        "since_ms": 0,
        "epoch": 3,
        "tenants": 2,
        "ready": True,
        "draining": False,
        "jobs_in_flight": 0,
        "lanes": 2,
        "sessions": 8,
    }
    return RegisteredWorker(info=WorkerInfo(host=host, **{**facts, **changes}), silent_s=silent_s)


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
    """Different versions or epochs are reported among live workers only; a silent worker is reported by itself."""
    lines = [worker_line(each) for each in (seen("a"), seen("b", version="2.0", epoch=4))]
    assert notes_on(lines) == [
        "the workers have different versions: 1.0, 2.0",
        "the workers have different epochs of sigmill.toml: 3, 4",
    ]
    dead = worker_line(seen("b", version="2.0", silent_s=60.0))
    assert notes_on([lines[0], dead]) == ["b 7 stopped reporting without a clean shutdown"]
    assert notes_on([]) == ["no worker reported within the last five minutes"]
