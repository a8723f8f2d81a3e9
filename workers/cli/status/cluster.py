"""``sigmill status`` without jobs: state of the cluster, from Redis."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from queueing.aio.runner import run
from queueing.broker.queue_stats import QueueState, read_queue_stats, redis_state
from queueing.coordination.worker_registry import registered_workers
from queueing.errors.counts import counted
from queueing.redis.connection import with_connection
from workers.cli.shell.output import Exit, emit, print_line, print_message, print_table
from workers.cli.status.workers import WorkerLine, notes_on, print_damaged, print_workers, worker_line
from workers.config.loading import load_configuration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from workers.config.loading import Configuration


class TenantLine(msgspec.Struct, frozen=True, kw_only=True):
    """Queue of one tenant. ``room`` and ``budget_left``: digests; None without a cap."""

    tenant: str
    ready: int
    leased: int
    digests: int
    age_s: float
    room: int | None
    budget_left: int | None
    refused: int
    dead_letters: int


class ClusterReport(msgspec.Struct, frozen=True, kw_only=True):
    """State of the cluster in JSON. ``circuits_open`` and ``drained``: hosts by token."""

    audience: str
    redis_memory_used_bytes: int
    redis_memory_limit_bytes: int
    workers: tuple[WorkerLine, ...]
    tenants: tuple[TenantLine, ...]
    circuits_open: dict[str, tuple[str, ...]]
    drained: dict[str, tuple[str, ...]]
    dead_letters: int


def show_cluster(file: Path, *, as_json: bool) -> Exit:
    """Print the state of the cluster: tenants with a non-empty queue, or all tenants in JSON."""
    configuration = load_configuration(file)
    report = run(
        with_connection(configuration.service.redis, lambda redis: _cluster_report(redis, configuration))
    )
    if as_json:
        emit(report)
    else:
        _print(report)
    return Exit.DONE if any(worker.state != "silent" for worker in report.workers) else Exit.RETRY


async def _cluster_report(redis: Redis, configuration: Configuration) -> ClusterReport:
    server = await redis_state(redis)
    registered = await registered_workers(redis)
    print_damaged(registered)
    workers = tuple(worker_line(seen) for seen in registered)
    states = await read_queue_stats(redis, list(configuration.tenants))
    alive = [worker for worker in workers if worker.state != "silent"]
    return ClusterReport(
        audience=configuration.service.audience,
        redis_memory_used_bytes=server.memory_used_bytes,
        redis_memory_limit_bytes=server.memory_limit_bytes,
        workers=workers,
        tenants=tuple(_tenant(configuration, name, state) for name, state in sorted(states.items())),
        circuits_open=_hosts((worker.host, worker.circuits_open) for worker in alive),
        drained=_hosts((worker.host, worker.drained) for worker in alive),
        dead_letters=sum(state.dead for state in states.values()),
    )


def _tenant(configuration: Configuration, name: str, state: QueueState) -> TenantLine:
    caps = configuration.tenants[name].limits.caps
    return TenantLine(
        tenant=name,
        ready=state.ready,
        leased=state.leased,
        digests=state.digests,
        age_s=round(state.age_s, 3),
        room=max(caps.backlog_digests - state.digests, 0) if caps.backlog_digests else None,
        budget_left=max(caps.budget_digests - state.spent, 0) if caps.budget_digests else None,
        refused=state.refused,
        dead_letters=state.dead,
    )


def _hosts(tokens_of: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for host, names in tokens_of:
        for name in names:
            found[name].append(host)
    return {name: tuple(sorted(hosts)) for name, hosts in sorted(found.items())}


def _print(report: ClusterReport) -> None:
    used, limit = report.redis_memory_used_bytes, report.redis_memory_limit_bytes
    of = f" of {limit / 1e6:,.0f}" if limit else ""
    alive = [worker for worker in report.workers if worker.state != "silent"]
    print_line(
        f"{report.audience}: {counted(len(alive), 'worker')}, {counted(sum(w.lanes for w in alive), 'lane')},"
        f" {counted(sum(w.sessions for w in alive), 'session')}; {counted(report.dead_letters, 'dead letter')};"
        f" Redis uses {used / 1e6:,.0f}{of} MB"
    )
    if report.workers:
        print_line()
        print_workers(report.workers)
    busy = [x for x in report.tenants if x.ready or x.leased or x.digests or x.dead_letters]
    if busy:
        print_line()
        print_table(
            ("TENANT", "READY", "LEASED", "DIGESTS", "OLDEST", "ROOM", "BUDGET", "REFUSED", "DEAD"),
            [
                (x.tenant, x.ready, x.leased, x.digests, f"{x.age_s:.1f} s", x.room, x.budget_left, x.refused, x.dead_letters)
                for x in sorted(busy, key=lambda x: -x.age_s)
            ],
        )  # fmt: skip
    for note in notes_on(report.workers):
        print_message(note)
    for token, hosts in report.circuits_open.items():
        print_message(
            f"token {token}: circuit breaker open on {', '.join(hosts)}: see `sigmill tokens list` there"
        )
    for token, hosts in report.drained.items():
        print_message(
            f"token {token}: drained on {', '.join(hosts)}: `sigmill tokens resume {token}` there resumes it"
        )
    if report.dead_letters:
        print_message("dead letters: `sigmill deadletter list`")
