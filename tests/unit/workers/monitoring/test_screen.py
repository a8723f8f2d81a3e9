"""The picture of ``sigmill top``: what is urgent comes first, and it stays within the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from workers.monitoring.screen import _time, lines_of
from workers.monitoring.snapshot import Snapshot, TenantRow, TokenRow, Total, WorkerRow


def total(**changes: Any) -> Total:
    facts: dict[str, Any] = {
        "workers": 2,
        "workers_ready": 1,
        "signatures_per_s": 1234.5,
        "failures_per_s": 0.0,
        "jobs_per_s": 19.3,
        "jobs_in_flight": 7,
        "wait_p50_s": 0.004,
        "wait_p99_s": 0.12,
        "job_p50_s": None,
        "job_p99_s": None,
        "backlog_digests": 12_345_678,
        "backlog_age_s": 4000.0,
        "dead_letters": 1,
        "redis_up": True,
        "redis_errors_per_s": 0.0,
        "fenced_per_s": 0.0,
        "log_failing": 0,
        "log_lag_s": 0.0,
    }
    return Total(**{**facts, **changes})


def tenant(name: str, **changes: Any) -> TenantRow:
    facts: dict[str, Any] = {
        "signatures_per_s": 10.0,
        "failures_per_s": 0.0,
        "wait_p50_s": 0.001,
        "wait_p99_s": 0.002,
        "job_p50_s": 0.003,
        "job_p99_s": 0.004,
        "backlog_digests": 640,
        "backlog_age_s": 3.5,
        "backlog_room_digests": None,
        "budget_left_digests": 88,
        "held_back_per_s": {"rate": 2.0},
        "dead_letters": None,
    }
    return TenantRow(tenant=name, **{**facts, **changes})


def token(name: str, circuit: str = "closed") -> TokenRow:
    return TokenRow(
        token=name,
        sessions=8,
        sessions_busy=5,
        lanes=2,
        lane_ends_per_s=0.0,
        digests_per_chunk=64.0,
        chunk_p99_s=0.05,
        circuit=circuit,
        drained=0,
    )


def view(tenants: int = 1, tokens: tuple[TokenRow, ...] = (), **changes: Any) -> Snapshot:
    workers = (
        WorkerRow(
            instance="h1:9464",
            ready=False,
            signatures_per_s=5.0,
            jobs_in_flight=1,
            loop_lag_s=0.0,
            log_lag_s=0.0,
            log_failing=True,
        ),
    )
    return Snapshot(
        window_s=2.0,
        total=total(**changes),
        tenants=tuple(tenant(f"t{i:03}") for i in range(tenants)),
        tokens=tokens,
        workers=workers,
        problems=("h2:9464 does not answer",),
    )


def test_everything_is_said() -> None:
    """The cluster first, then what could not be asked, then tenants, tokens and workers."""
    text = "\n".join(lines_of(view(tokens=(token("acme", "refused"),)), width=200, height=None))
    for words in (
        "signed 1,234/s",
        "workers 1/2 ready",
        "redis up",
        "backlog 12,346k digests, oldest 67 min",
    ):
        assert words in text, text
    assert "wait p50 4 ms p99 120 ms  job p50 - p99 -" in text
    parts = ("signed 1,234/s", "! h2:9464 does not answer", "rate 2.0", "REFUSED", "FAILING")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_trouble_is_named_only_where_there_is_some() -> None:
    """Zeros are left out."""
    quiet = "\n".join(lines_of(view(), width=200, height=None))
    for words in ("REDIS DOWN", "fenced", "WRITE-AHEAD LOG", "redis errors"):
        assert words not in quiet
    loud = "\n".join(lines_of(view(redis_up=False, fenced_per_s=1.5, log_failing=1), width=200, height=None))
    assert "REDIS DOWN" in loud
    assert "1.5 commits fenced/s" in loud
    assert "WRITE-AHEAD LOG FAILING on 1" in loud


@pytest.mark.parametrize("height", [12, 24, 50])
def test_it_stays_within_the_terminal(height: int) -> None:
    """However many tenants there are; a line tells how many are not shown."""
    tokens = tuple(token(f"k{i}") for i in range(40))
    lines = lines_of(view(tenants=300, tokens=tokens), width=80, height=height)
    assert len(lines) <= height
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("… and ") and line.endswith(" more tenants") for line in lines)


def test_a_token_in_trouble_is_not_cut_off() -> None:
    """Open circuits come before tokens that sign."""
    tokens = (*(token(f"k{i:02}") for i in range(40)), token("zz", "open"))
    lines = lines_of(view(tokens=tokens), width=100, height=40)
    assert any(line.startswith("zz") and line.endswith("OPEN") for line in lines)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (None, "-"),
        (0.0, "0 s"),
        (0.00042, "0.42 ms"),
        (0.0123, "12.3 ms"),
        (0.5, "500 ms"),
        (1.5, "1.5 s"),
        (99.0, "99 s"),
        (600.0, "10 min"),
        (8000.0, "2.2 h"),
    ],
)
def test_times(seconds: float | None, text: str) -> None:
    """At most three digits and a unit."""
    assert _time(seconds) == text
