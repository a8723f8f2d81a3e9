"""``sigmill status JOB…`` for operators, from Redis and this host's write-ahead log."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from queueing.aio.runner import run
from queueing.broker.job_state import JobReport, report_of
from queueing.broker.job_values import JobState, JobStatus
from queueing.errors import ProofInvalid, QueueUnavailable
from queueing.errors.counts import agreed, counted
from queueing.protocol.jobs import tenant_of_job_id
from queueing.redis.connection import with_connection
from queueing.unix_time import from_unix_ms
from workers.audit.job_history import Histories, JobEvent, histories_of
from workers.cli.shell.output import ErrorObject, Exit, Tally, emit, name_of, print_line, print_message
from workers.cli.status.record_history import recorded_histories
from workers.cli.status.text import text_of
from workers.config.service_file import load_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

    from workers.config.service_file import ServiceConfiguration


_EVENT_WORDS: Final = {"committed": "released"}
"""Words for people, as the manual has them; JSON keeps the log's own."""


class JobLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job in JSON: the client's line with fields for operators. ``log_problem``: reason for a missing history."""

    job_id: str
    state: JobState
    signed: int | None = None
    failed: int | None = None
    error: ErrorObject | None = None
    tenant: str
    lease: str | None = None
    lease_left_s: float | None = None
    due_in_s: float | None = None
    attempts: int | None = None
    crashes: int | None = None
    digests: int | None = None
    dead_letter: bool = False
    result_left_s: float | None = None
    history: tuple[JobEvent, ...] = ()
    log_problem: str = ""


def show_jobs(
    file: Path, job_ids: tuple[str, ...], *, tenant: str | None, since_s: float, as_json: bool
) -> Exit:
    """Print the jobs. Without Redis their state is unknown, but the history is still printed."""
    service = load_service(file)
    owners = {job_id: _owner(job_id, tenant) for job_id in job_ids}
    found = run(with_connection(service.redis, lambda redis: _job_reports(redis, owners)))
    problem, histories = "", None
    try:
        histories = _histories(service, owners, since_s)
    except OSError as error:
        problem = f"{error.filename or service.state_dir / 'wal'} cannot be read: {error.strerror}"
    except ProofInvalid as error:
        problem = f"the record cannot be read: {error.message}"
    if histories is not None and histories.damage:
        problem = f"{service.state_dir / 'wal'} is damaged, records may be missing: {'; '.join(histories.damage[:3])}"
    tally = Tally()
    for job_id, report in found.items():
        events = () if histories is None else tuple(histories.events[_raw(job_id)])
        if as_json:
            emit(_line(report, owners[job_id], events, problem))
        else:
            _print(report, events)
        tally.add(report.status.as_error())
    if problem:
        print_message(problem)
    elif histories is not None and not as_json:
        print_message(
            f"this host's log: {service.state_dir / 'wal'}, {counted(histories.segments, 'segment')},"
            f" {histories.size_bytes / 1e6:.0f} MB of the last {since_s / 3600:g} h; other hosts have their own"
        )
    return tally.exit_code()


def _owner(job_id: str, tenant: str | None) -> str:
    owner = tenant_of_job_id(job_id) or tenant
    if owner is None:
        raise click.UsageError(f"{job_id}: this id does not contain a tenant; give --tenant")
    return owner


async def _job_reports(redis: Redis, owners: Mapping[str, str]) -> dict[str, JobReport]:
    found = {}
    for job_id, tenant in owners.items():
        try:
            found[job_id] = await report_of(redis, tenant, job_id)
        except QueueUnavailable as error:
            found[job_id] = JobReport(status=JobStatus(job_id=job_id, state=JobState.FAILED, error=error))
    return found


def _histories(service: ServiceConfiguration, owners: Mapping[str, str], since_s: float) -> Histories:
    """Events from the write-ahead log; from the record of jobs of which the log has none any more."""
    since = time.time() - since_s
    found = histories_of(service.state_dir / "wal", [_raw(job_id) for job_id in owners], since_s=since)
    missing = {_raw(job_id): owner for job_id, owner in owners.items() if not found.events[_raw(job_id)]}
    if service.record.enabled and missing:
        found.events.update(recorded_histories(service.state_dir, missing, since_s=since))
    return found


def _raw(job_id: str) -> bytes:
    """Job id as bytes, as in Redis and the log; the shell's escapes represent bytes that are not UTF-8."""
    return job_id.encode("utf-8", "surrogateescape")


def _line(report: JobReport, tenant: str, events: tuple[JobEvent, ...], problem: str) -> JobLine:
    status = report.status
    ended = status.state is JobState.DONE
    return JobLine(
        job_id=status.job_id,
        state=_state(status),
        signed=status.signed if ended else None,
        failed=status.failed if ended else None,
        error=None if status.error is None else ErrorObject.of(status.error),
        tenant=tenant,
        lease=report.lease,
        lease_left_s=report.lease_left_s,
        due_in_s=report.due_in_s,
        attempts=report.attempts,
        crashes=report.crashes,
        digests=report.digests,
        dead_letter=report.dead_letter,
        result_left_s=report.result_left_s,
        history=events,
        log_problem=problem,
    )


def _state(status: JobStatus) -> JobState:
    return JobState.UNKNOWN if isinstance(status.error, QueueUnavailable) else status.state


def _print(report: JobReport, events: tuple[JobEvent, ...]) -> None:
    status = report.status
    print_line(f"{status.job_id}  {_state(status)}  {text_of(status)}")
    if report.lease is not None:
        left_s = report.lease_left_s or 0.0
        print_line(f"  leased by {report.lease}, {left_s:.1f} s left unless it is extended")
    elif report.due_in_s is not None:
        print_line("  due now" if report.due_in_s <= 0 else f"  due in {report.due_in_s:.1f} s")
    if report.attempts is not None:
        print_line(
            f"  {counted(report.digests or 0, 'digest')}, {counted(report.attempts, 'attempt')},"
            f" {counted(report.crashes or 0, 'crash', 'crashes')} of the worker"
        )
    if report.dead_letter:
        print_line(f"  dead letter: sigmill deadletter show {shlex.quote(name_of(_raw(status.job_id)))}")
    if report.result_left_s is not None:
        print_line(f"  result kept for {report.result_left_s:.0f} s more")
    for event in events:
        at = from_unix_ms(event.at_ms)
        print_line(
            f"  {at:%F %T}.{event.at_ms % 1000:03d}Z  {_EVENT_WORDS.get(event.what, event.what):<17}  {'record' if event.from_record else event.lease}  {_details(event)}".rstrip()
        )


def _details(event: JobEvent) -> str:
    if event.what == "intent":
        version = "" if event.key_version is None else f"/{event.key_version}"
        return (
            f"attempt {event.attempt}, {counted(event.digests or 0, 'digest')}, {event.algorithm} with {event.key}{version}"
            f" for {event.client}" + (f", {event.subject}" if event.subject else "")
        )
    if event.what == "outcome":
        dead = ", dead letter" if event.dead_letter else ""
        dropped = (
            f", up to {event.dropped} more {agreed(event.dropped, 'signature', 'signatures')} made and not released"
            if event.dropped
            else ""
        )
        return (event.code or f"{event.signed} signed, {event.failed} failed") + dropped + dead
    return ""
