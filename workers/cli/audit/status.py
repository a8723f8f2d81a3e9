"""``sigmill audit status``: how far the record of this host is, by tenant, and what of the log is damaged."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.errors import ConfigError, LogUnavailable
from queueing.errors.counts import agreed, counted
from queueing.files.folders import is_there
from queueing.files.regular_file import NOT_A_FILE
from queueing.protocol.names import NAME_PATTERN
from workers.cli.audit.times import utc_text
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message, print_table
from workers.config.service_file import load_service
from workers.journal.event_spool import EventSpool
from workers.journal.retention import folder_bytes
from workers.journal.scrubbing import ScrubbedPlace, read_report
from workers.journal.segments import segments_of
from workers.record.exchange import StatementRequests, read_status, statement_files
from workers.record.folder import FOLDER_NAME, LOGS_NAME, log_folder
from workers.record.published import other_tenant, published_checkpoint, tenants_of
from workers.record.replacement import former_records
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration


class HostLine(msgspec.Struct, frozen=True, kw_only=True):
    """The log of the host. ``lag_s``: since everything in it was sealed; None without a sealer. ``scrubbed_at``: end of the last round.

    ``record_damage``: places of the record's files that its scrubber found damaged. ``former``: records that were given up; ``events_waiting``: files of events that no worker has taken yet.
    """

    segments: int
    log_bytes: int
    keep_days: float
    record: bool
    lag_s: float | None
    former: tuple[str, ...]
    events_waiting: int
    scrubbed_at: str | None
    damage: tuple[ScrubbedPlace, ...]
    record_damage: tuple[str, ...] = ()


class TenantLine(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's record on this host. ``keys``: statements of the service key; ``certified``: none is requested at present.

    ``problem``: why the checkpoint cannot be read, else ''.
    """

    tenant: str
    origin: str
    size: int
    checkpoint_at: str | None
    keys: int
    certified: bool
    problem: str = ""


@click.command("status")
@config_option
@click.option("--tenant", help="Of this tenant only.")
@json_option
@click.pass_obj
def status(output: Output, /, *, config: Path, tenant: str | None) -> Exit:
    """Show how far the record of this host is, and what of its log is damaged.

    By tenant: origin, entries, time of the newest checkpoint, number of certified keys. Of the host: segments and bytes of the
    write-ahead log, their retention, the sealer's lag, and what the scrubber found in its last round. Nothing is verified, and
    a worker may be writing meanwhile. With --json the first line is the host's.

    Exit code 1 if something is damaged or was given up.
    """
    service = load_service(config)
    if tenant is not None and not re.match(NAME_PATTERN, tenant):
        raise ConfigError(
            "--tenant", "", f"{tenant!r} is no name of a tenant", "`sigmill tenants list` shows them."
        )
    try:
        host = _host(service)
        tenants = [tenant] if tenant is not None else sorted(_tenants(service.state_dir))
        waiting = StatementRequests(service.state_dir).tenants()
        lines = [_tenant(service.state_dir, name, waiting) for name in tenants]
    except OSError as error:
        raise LogUnavailable(f"{error.filename}: {error.strerror}") from error
    if output.as_json:
        for line in (host, *lines):
            emit(line)
    else:
        _print(host, lines)
    bad = host.damage or host.record_damage or host.former or any(line.problem for line in lines)
    return Exit.FAILED if bad else Exit.DONE


def _tenants(state_dir: Path) -> set[str]:
    logs = state_dir / FOLDER_NAME / LOGS_NAME
    return tenants_of(logs) if is_there(logs) else set()


def _host(service: ServiceConfiguration) -> HostLine:
    state_dir, wal = service.state_dir, service.state_dir / "wal"
    sealer, scrub = read_status(state_dir), read_report(state_dir)
    ended_at = None if scrub is None else scrub.ended_at
    return HostLine(
        segments=len(segments_of(wal)),
        log_bytes=folder_bytes(wal),
        keep_days=service.log.keep_days,
        record=service.record.enabled,
        lag_s=None if sealer is None else round(sealer.lag_s(time.monotonic_ns()), 1),
        former=tuple(path.name for path in former_records(state_dir)) if is_there(state_dir) else (),
        events_waiting=len(EventSpool(state_dir)),
        scrubbed_at=None if ended_at is None else utc_text(int(ended_at * 1000)),
        damage=() if scrub is None else scrub.damage,
        record_damage=() if sealer is None else sealer.damage,
    )


def _tenant(state_dir: Path, tenant: str, waiting: set[str]) -> TenantLine:
    folder = log_folder(state_dir, tenant)
    origin, size, at, problem = "", 0, None, ""
    try:
        checkpoint = published_checkpoint(folder)
        if checkpoint is not None:
            origin, size = checkpoint.origin, checkpoint.size
            at = utc_text((folder / "checkpoint").stat().st_mtime_ns // 1_000_000)
            other = other_tenant(checkpoint, tenant)
            problem = (
                f"a copy of the log of {other}, which is not sealed on: move it out of {folder.parent}"
                if other
                else ""
            )
    except RecordDamaged as damaged:
        problem = str(damaged)
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        problem = f"{error.filename}: {error.strerror}"
    statements = statement_files(folder)
    return TenantLine(
        tenant=tenant,
        origin=origin,
        size=size,
        checkpoint_at=at,
        keys=len(statements),
        certified=bool(statements) and tenant not in waiting,
        problem=problem,
    )


def _print(host: HostLine, lines: list[TenantLine]) -> None:
    if lines:
        rows = [
            (
                line.tenant,
                f"{line.size:,}",
                line.checkpoint_at or "none",
                f"{line.keys}" if line.certified else f"{line.keys}, one is requested",
                line.problem or line.origin,
            )
            for line in lines
        ]
        print_table(("TENANT", "ENTRIES", "CHECKPOINT", "KEYS", "ORIGIN"), rows)
    waiting = (
        f"{counted(host.events_waiting, 'file')} of events {agreed(host.events_waiting, 'waits', 'wait')}"
    )
    print_message(
        f"log: {counted(host.segments, 'segment')}, {host.log_bytes:,} bytes, kept {host.keep_days:g} days"
        f"{f', {waiting} for a worker' if host.events_waiting else ''}"
    )
    if not host.record:
        print_message("record: not switched on ([record] enabled)")
    elif host.lag_s is None:
        print_message("record: no sealer has run yet")
    else:
        print_message(f"record: sealed {host.lag_s:.0f} s ago")
    for place_in_record in host.record_damage:
        print_message(f"record: damaged: {place_in_record}")
    for name in host.former:
        print_message(f"record: {name} was given up because it was damaged or set back")
    print_message(f"scrubbed: {host.scrubbed_at or 'no round has ended yet'}")
    for place in host.damage:
        print_message(f"damaged: {place.segment}, {place.size_bytes} bytes from offset {place.offset}")
