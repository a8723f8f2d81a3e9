"""Snapshot of a cluster for ``sigmill top``, from any metrics source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from workers.monitoring.samples import ByLabels, names_of, one

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.monitoring.samples import MetricsSource

CIRCUITS: Final[dict[int, Literal["closed", "open", "refused"]]] = {0: "closed", 1: "open", 2: "refused"}

_HELD_BACK: Final = ("rate", "budget", "hard_cap")


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Values of ``sigmill top``; None where the source has none: no exporter, or nothing observed in the window."""


class Total(_Shown, frozen=True):
    """Totals of the cluster, in seconds and per second."""

    workers: int
    workers_ready: int
    signatures_per_s: float
    failures_per_s: float
    jobs_per_s: float
    jobs_in_flight: int
    wait_p50_s: float | None
    wait_p99_s: float | None
    job_p50_s: float | None
    job_p99_s: float | None
    backlog_digests: int | None
    backlog_age_s: float | None
    dead_letters: int | None
    redis_up: bool | None
    redis_errors_per_s: float
    fenced_per_s: float
    log_failing: int
    log_lag_s: float


class TenantRow(_Shown, frozen=True):
    """Values of one tenant. ``held_back_per_s``: claims that its limits held back, by limit."""

    tenant: str
    signatures_per_s: float
    failures_per_s: float
    wait_p50_s: float | None
    wait_p99_s: float | None
    job_p50_s: float | None
    job_p99_s: float | None
    backlog_digests: int | None
    backlog_age_s: float | None
    backlog_room_digests: int | None
    budget_left_digests: int | None
    held_back_per_s: dict[str, float]
    dead_letters: int | None


class TokenRow(_Shown, frozen=True):
    """Values of one token over all hosts; ``circuit`` is the worst state, ``drained`` the number of hosts."""

    token: str
    sessions: int
    sessions_busy: int
    lanes: int
    lane_ends_per_s: float
    digests_per_chunk: float | None
    chunk_p99_s: float | None
    circuit: str
    drained: int


class WorkerRow(_Shown, frozen=True):
    """Values of one worker process, by its scrape address."""

    instance: str
    ready: bool
    signatures_per_s: float
    jobs_in_flight: int
    loop_lag_s: float
    log_lag_s: float
    log_failing: bool


class Snapshot(_Shown, frozen=True):
    """Snapshot of a cluster. ``problems``: failed requests. Tenants: oldest backlog first, then the busiest."""

    window_s: float
    total: Total
    tenants: tuple[TenantRow, ...]
    tokens: tuple[TokenRow, ...]
    workers: tuple[WorkerRow, ...]
    problems: tuple[str, ...] = ()


def snapshot_of(source: MetricsSource, problems: tuple[str, ...] = ()) -> Snapshot:
    """Take a snapshot: about 40 queries of the source."""
    workers = _workers(source)
    tenants = _tenants(source)
    return Snapshot(
        window_s=round(source.window_s, 3),
        total=_total(source, tenants, workers),
        tenants=tuple(sorted(tenants, key=_urgency)),
        tokens=_tokens(source),
        workers=workers,
        problems=problems,
    )


def _urgency(row: TenantRow) -> tuple[float, float, str]:
    return -(row.backlog_age_s or 0.0), -(row.signatures_per_s + row.failures_per_s), row.tenant


def _total(source: MetricsSource, tenants: Sequence[TenantRow], workers: Sequence[WorkerRow]) -> Total:
    """Totals; those of the tenants are sums of their rows, which a source that counts meanwhile cannot give in two answers."""
    redis_up = one(source.values("sigmill_redis_up"))
    surveyed = redis_up is not None
    age_s = one(source.maxima("sigmill_backlog_age_seconds"))
    return Total(
        workers=len(workers),
        workers_ready=sum(worker.ready for worker in workers),
        signatures_per_s=sum(row.signatures_per_s for row in tenants),
        failures_per_s=one(source.rates("sigmill_failures_total")) or 0.0,
        jobs_per_s=one(source.rates("sigmill_jobs_total")) or 0.0,
        jobs_in_flight=sum(worker.jobs_in_flight for worker in workers),
        wait_p50_s=one(source.quantiles("sigmill_queue_wait_seconds", 0.5)),
        wait_p99_s=one(source.quantiles("sigmill_queue_wait_seconds", 0.99)),
        job_p50_s=one(source.quantiles("sigmill_job_seconds", 0.5)),
        job_p99_s=one(source.quantiles("sigmill_job_seconds", 0.99)),
        backlog_digests=sum(row.backlog_digests or 0 for row in tenants) if surveyed else None,
        backlog_age_s=(age_s or 0.0) if surveyed else None,
        dead_letters=sum(row.dead_letters or 0 for row in tenants) if surveyed else None,
        redis_up=None if redis_up is None else redis_up > 0,
        redis_errors_per_s=one(source.rates("sigmill_redis_errors_total")) or 0.0,
        fenced_per_s=one(source.rates("sigmill_commits_fenced_total")) or 0.0,
        log_failing=sum(worker.log_failing for worker in workers),
        log_lag_s=max((worker.log_lag_s for worker in workers), default=0.0),
    )


def _tenants(source: MetricsSource) -> list[TenantRow]:
    signed = source.rates("sigmill_signatures_total", "tenant")
    failed = source.rates("sigmill_failures_total", "tenant")
    wait_p50 = source.quantiles("sigmill_queue_wait_seconds", 0.5, "tenant")
    wait_p99 = source.quantiles("sigmill_queue_wait_seconds", 0.99, "tenant")
    job_p50 = source.quantiles("sigmill_job_seconds", 0.5, "tenant")
    job_p99 = source.quantiles("sigmill_job_seconds", 0.99, "tenant")
    digests = source.values("sigmill_backlog_digests", "tenant")
    age_s = source.maxima("sigmill_backlog_age_seconds", "tenant")
    room = source.values("sigmill_backlog_room_digests", "tenant")
    budget = source.values("sigmill_budget_left_digests", "tenant")
    held = source.rates("sigmill_limiter_decisions_total", "tenant", "outcome")
    dead = source.values("sigmill_dead_letters", "tenant")
    return [
        TenantRow(
            tenant=name,
            signatures_per_s=signed.get((name,), 0.0),
            failures_per_s=failed.get((name,), 0.0),
            wait_p50_s=wait_p50.get((name,)),
            wait_p99_s=wait_p99.get((name,)),
            job_p50_s=job_p50.get((name,)),
            job_p99_s=job_p99.get((name,)),
            backlog_digests=_whole(digests, name),
            backlog_age_s=age_s.get((name,)),
            backlog_room_digests=_whole(room, name),
            budget_left_digests=_whole(budget, name),
            held_back_per_s={limit: held[name, limit] for limit in _HELD_BACK if held.get((name, limit))},
            dead_letters=_whole(dead, name),
        )
        for name in names_of(signed, failed, digests, budget, dead, held)
    ]


def _whole(source: ByLabels, name: str) -> int | None:
    value = source.get((name,))
    return None if value is None else int(value)


def _tokens(source: MetricsSource) -> tuple[TokenRow, ...]:
    sessions = source.values("sigmill_sessions", "token")
    busy = source.values("sigmill_sessions_busy", "token")
    lanes = source.values("sigmill_lanes", "token")
    ends = source.rates("sigmill_lane_restarts_total", "token")
    chunks = source.rates("sigmill_chunk_digests_count", "token")
    digests = source.rates("sigmill_chunk_digests_sum", "token")
    chunk_p99 = source.quantiles("sigmill_lane_chunk_seconds", 0.99, "token")
    circuits = source.maxima("sigmill_token_circuit_open", "token")
    drained = source.values("sigmill_token_drained", "token")
    return tuple(
        TokenRow(
            token=name,
            sessions=int(sessions.get((name,), 0)),
            sessions_busy=int(busy.get((name,), 0)),
            lanes=int(lanes.get((name,), 0)),
            lane_ends_per_s=ends.get((name,), 0.0),
            digests_per_chunk=digests.get((name,), 0.0) / chunks[name,] if chunks.get((name,)) else None,
            chunk_p99_s=chunk_p99.get((name,)),
            circuit=CIRCUITS.get(int(circuits.get((name,), 0)), "unknown"),
            drained=int(drained.get((name,), 0)),
        )
        for name in names_of(sessions, circuits, ends, drained)
    )


def _workers(source: MetricsSource) -> tuple[WorkerRow, ...]:
    ready = source.values("sigmill_worker_ready", "instance")
    signed = source.rates("sigmill_signatures_total", "instance")
    in_flight = source.values("sigmill_jobs_in_flight", "instance")
    loop_lag = source.values("sigmill_event_loop_lag_seconds", "instance")
    log_lag = source.values("sigmill_log_lag_seconds", "instance")
    log_failing = source.values("sigmill_log_failing", "instance")
    return tuple(
        WorkerRow(
            instance=name,
            ready=ready[name,] > 0,
            signatures_per_s=signed.get((name,), 0.0),
            jobs_in_flight=int(in_flight.get((name,), 0)),
            loop_lag_s=loop_lag.get((name,), 0.0),
            log_lag_s=log_lag.get((name,), 0.0),
            log_failing=log_failing.get((name,), 0.0) > 0,
        )
        for name in names_of(ready)
    )
