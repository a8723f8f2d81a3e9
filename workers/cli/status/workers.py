"""``sigmill workers``: workers registered in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.aio.runner import run
from queueing.coordination.worker_registry import RegisteredWorker, registered_workers
from queueing.errors.counts import agreed, counted
from queueing.redis.connection import with_connection
from queueing.redis.values import Readable
from queueing.unix_time import from_unix_ms
from workers.cli.commands import WORKERS, LazyGroup
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message, print_table
from workers.config.service_file import load_service

LAST_MS: Final = 253_402_300_799_000
"""End of the year 9999, the last one of a ``datetime``."""


class WorkerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One worker. ``state``: ready, not-ready, draining, or silent (no report, no clean shutdown).

    ``log_paused``: tenants of which it claims nothing, because their records have filled their share of its disk.
    """

    worker: str
    host: str
    pid: int
    state: str
    since: datetime
    version: str
    epoch: int
    tenants: int
    lanes: int
    sessions: int
    jobs_in_flight: int
    circuits_open: tuple[str, ...]
    drained: tuple[str, ...]
    metrics: str
    log_paused: tuple[str, ...]
    silent_s: float


@click.group(cls=LazyGroup, table=WORKERS, no_args_is_help=True)
def workers() -> None:
    """The workers of the cluster, as registered in Redis."""


@click.command("list")
@config_option
@json_option
@click.pass_obj
def list_workers(output: Output, /, *, config: Path) -> Exit:
    """List the workers that reported within the last five minutes. They report every five seconds.

    Exit code 75 if no worker is alive.
    """
    seen = run(with_connection(load_service(config).redis, registered_workers))
    lines = [worker_line(worker) for worker in seen]
    if output.as_json:
        for line in lines:
            emit(line)
    else:
        print_workers(lines)
        for note in notes_on(lines):
            print_message(note)
    print_damaged(seen)
    return Exit.DONE if any(worker.alive for worker in seen) else Exit.RETRY


def worker_line(seen: RegisteredWorker) -> WorkerLine:
    """Make the output line of a worker."""
    info = seen.info
    return WorkerLine(
        worker=info.owner,
        host=info.host,
        pid=info.pid,
        state=_state(seen),
        since=from_unix_ms(min(info.since_ms, LAST_MS)),
        version=info.version,
        epoch=info.epoch,
        tenants=info.tenants,
        lanes=info.lanes,
        sessions=info.sessions,
        jobs_in_flight=info.jobs_in_flight,
        circuits_open=info.circuits_open,
        drained=info.drained,
        metrics=info.metrics,
        log_paused=info.log_paused,
        silent_s=round(seen.silent_s, 3),
    )


def print_workers(lines: Sequence[WorkerLine]) -> None:
    """Print the table of workers; the id tells workers in containers apart that have one host name and process id."""
    print_table(
        ("HOST", "PID", "ID", "STATE", "SEEN", "SINCE", "VERSION", "EPOCH", "LANES", "SESSIONS", "JOBS", "OPEN", "DRAINED"),
        [
            (x.host, x.pid, _short_id(x), x.state, f"{x.silent_s:.0f} s ago", f"{x.since:%F %T}", x.version, x.epoch, x.lanes,
             x.sessions, x.jobs_in_flight, " ".join(x.circuits_open), " ".join(x.drained))
            for x in lines
        ],
    )  # fmt: skip


def print_damaged(seen: Readable[RegisteredWorker]) -> None:
    """Say how many entries could not be read."""
    if seen.damaged:
        print_message(
            f"{counted(seen.damaged, 'entry', 'entries')} of workers {agreed(seen.damaged, 'is', 'are')} damaged, or of another version, and not shown"
        )


def notes_on(lines: Sequence[WorkerLine]) -> list[str]:
    """Warnings about silent workers and about differences between workers."""
    alive = [line for line in lines if line.state != "silent"]
    notes = [
        f"{x.host} {x.pid} stopped reporting without a clean shutdown (id {_short_id(x)})"
        for x in lines
        if x.state == "silent"
    ]
    for name, values in (
        ("versions", {line.version for line in alive}),
        ("epochs of sigmill.toml", {str(line.epoch) for line in alive}),
    ):
        if len(values) > 1:
            notes.append(f"the workers have different {name}: {', '.join(sorted(values))}")
    notes += [
        f"{x.host} claims no jobs of {', '.join(x.log_paused)}: their records of today have filled their share of its disk"
        " ([log] tenant_share; see the runbook SigmillLogShareUsed)"
        for x in alive
        if x.log_paused
    ]
    return notes if lines else ["no worker reported within the last five minutes"]


def _short_id(line: WorkerLine) -> str:
    """The random part of the owner's name."""
    return line.worker.rpartition(".")[2]


def _state(seen: RegisteredWorker) -> str:
    if not seen.alive:
        return "silent"
    if seen.info.draining:
        return "draining"
    return "ready" if seen.info.ready else "not-ready"
