"""Snapshot of a cluster as lines of text, within the width and height of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workers.monitoring.snapshot import Snapshot, TenantRow, TokenRow, Total, WorkerRow

_MOST_WORKERS: Final = 8
_MOST_TOKENS: Final = 12
_K: Final = 10_000
"""From here on counts are shown in thousands, to fit the column."""


def lines_of(snapshot: Snapshot, *, width: int, height: int | None) -> list[str]:
    """Lines of the snapshot; with a height, as many tenants, tokens and workers as fit, and the number of the others."""
    head = _head(snapshot.total, snapshot.window_s)
    notes = [f"! {problem}" for problem in snapshot.problems]
    tokens, workers = list(snapshot.tokens), list(snapshot.workers)
    tenants = list(snapshot.tenants)
    if height is not None:
        workers = workers[:_MOST_WORKERS]
        tokens = sorted(tokens, key=_token_urgency)[:_MOST_TOKENS]
        taken = (
            len(head) + len(notes) + len(tokens) + len(workers) + 3 * 2 + 3
        )  # heads and gaps, "more" lines
        tenants = tenants[: max(height - taken, 3)]
    found = [*head, *notes]
    found += ["", *_table(_TENANT_HEAD, map(_tenant, tenants)), *_more(snapshot.tenants, tenants, "tenants")]
    found += ["", *_table(_TOKEN_HEAD, map(_token, tokens)), *_more(snapshot.tokens, tokens, "tokens")]
    found += ["", *_table(_WORKER_HEAD, map(_worker, workers)), *_more(snapshot.workers, workers, "workers")]
    return [line[:width].rstrip() for line in found[:height]]


def _head(total: Total, window_s: float) -> list[str]:
    redis = {None: "redis not monitored", True: "redis up", False: "REDIS DOWN"}[total.redis_up]
    trouble = [
        f"{total.redis_errors_per_s:.1f} redis errors/s" if total.redis_errors_per_s else "",
        f"{total.fenced_per_s:.1f} commits fenced/s" if total.fenced_per_s else "",
        f"WRITE-AHEAD LOG FAILING on {total.log_failing}" if total.log_failing else "",
    ]
    rates = (
        f"signed {_rate(total.signatures_per_s)}/s  failed {_rate(total.failures_per_s)}/s"
        f"  jobs {_rate(total.jobs_per_s)}/s  in flight {total.jobs_in_flight}  over {window_s:.0f} s"
    )
    times = (
        f"wait p50 {_time(total.wait_p50_s)} p99 {_time(total.wait_p99_s)}"
        f"  job p50 {_time(total.job_p50_s)} p99 {_time(total.job_p99_s)}  log lag {_time(total.log_lag_s)}"
    )
    state = (
        f"workers {total.workers_ready}/{total.workers} ready  {redis}"
        f"  backlog {_count(total.backlog_digests)} digests, oldest {_time(total.backlog_age_s)}"
        f"  dead letters {_count(total.dead_letters)}"
    )
    return [rates, times, "  ".join([state, *filter(None, trouble)])]


_TENANT_HEAD: Final = (
    *("TENANT", "SIGNED/s", "FAILED/s", "WAIT p50", "p99", "JOB p50", "p99"),
    *("BACKLOG", "AGE", "ROOM", "BUDGET", "DEAD", "LIMITED/s"),
)
_TOKEN_HEAD: Final = (
    "TOKEN",
    "BUSY",
    "SESSIONS",
    "LANES",
    "DIGESTS/CHUNK",
    "CHUNK p99",
    "RESTARTS/s",
    "STATE",
)
_WORKER_HEAD: Final = ("WORKER", "READY", "SIGNED/s", "IN FLIGHT", "LOOP LAG", "LOG LAG", "LOG")


def _tenant(row: TenantRow) -> tuple[str, ...]:
    return (
        row.tenant,
        _rate(row.signatures_per_s),
        _rate(row.failures_per_s),
        _time(row.wait_p50_s),
        _time(row.wait_p99_s),
        _time(row.job_p50_s),
        _time(row.job_p99_s),
        _count(row.backlog_digests),
        _time(row.backlog_age_s),
        _count(row.backlog_room_digests),
        _count(row.budget_left_digests),
        _count(row.dead_letters),
        " ".join(f"{limit} {_rate(held)}" for limit, held in row.held_back_per_s.items()) or "-",
    )


def _token(row: TokenRow) -> tuple[str, ...]:
    return (
        row.token,
        str(row.sessions_busy),
        str(row.sessions),
        str(row.lanes),
        "-" if row.digests_per_chunk is None else f"{row.digests_per_chunk:.0f}",
        _time(row.chunk_p99_s),
        _rate(row.lane_ends_per_s),
        _state(row),
    )


def _state(row: TokenRow) -> str:
    """State of the circuit breaker, and the number of hosts on which the token is drained."""
    state = "ok" if row.circuit == "closed" else row.circuit.upper()
    return f"{state}, drained on {row.drained} host{'s' if row.drained > 1 else ''}" if row.drained else state


def _token_urgency(row: TokenRow) -> tuple[bool, float, int, str]:
    return row.circuit == "closed", -row.lane_ends_per_s, -row.sessions_busy, row.token


def _worker(row: WorkerRow) -> tuple[str, ...]:
    return (
        row.instance,
        "yes" if row.ready else "NO",
        _rate(row.signatures_per_s),
        str(row.jobs_in_flight),
        _time(row.loop_lag_s),
        _time(row.log_lag_s),
        "FAILING" if row.log_failing else "ok",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned rows: the first and last column to the left, numbers to the right."""
    texts = [head, *rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i in {0, len(head) - 1} else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]


def _more(all_rows: Sequence[object], shown: Sequence[object], what: str) -> list[str]:
    return [f"… and {len(all_rows) - len(shown)} more {what}"] if len(shown) < len(all_rows) else []


def _rate(per_s: float) -> str:
    if per_s >= 100:
        return f"{per_s:,.0f}"
    return f"{per_s:.1f}" if per_s else "0"


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:,.0f}k" if value >= _K else str(value)


def _time(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return "-"
    for limit_s, factor, unit in ((1e-9, 0.0, " s"), (1.0, 1e3, " ms"), (100.0, 1.0, " s")):
        if seconds < limit_s:
            value = seconds * factor
            return f"{value:.3g}{unit}" if value < 100 else f"{value:.0f}{unit}"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
