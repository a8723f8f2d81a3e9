"""``sigmill audit export``: a part of a tenant's record as a folder that proves itself."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec

from queueing.errors import ConfigError, LogUnavailable
from queueing.errors.counts import counted
from queueing.protocol.names import NAME_PATTERN
from workers.cli.audit.times import from_option, to_option
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import load_service
from workers.record.bundle.writer import Exported, export, newest_checkpoint
from workers.record.folder import LOGS_NAME, log_folder
from workers.record.integrity.blocks import DamagedPlace
from workers.record.replacement import former_records
from workers.record.retention.minimum import removed_sentence


class NotSealed(LogUnavailable):
    """This host has no checkpoint of the tenant yet."""

    hint = "The record begins with the tenant's first job on this host; checkpoints follow it within a second or two."


class ExportLine(msgspec.Struct, frozen=True, kw_only=True):
    """The written bundle: origin, entries of the log, and the range that is in it (the end exclusive).

    ``minimum``: the first entry that this host still has. ``damage``: places of the log whose entries and hashes differ.
    """

    origin: str
    size: int
    first: int
    end: int
    folder: str
    minimum: int = 0
    damage: tuple[DamagedPlace, ...] = ()


@click.command("export")
@config_option
@click.option("--tenant", required=True, help="The tenant.")
@from_option
@to_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of the bundle; created if missing. Bundles of several hosts may share it.",
)
@click.option(
    "--former",
    metavar="NAME",
    help="From a record of this host that was given up, by its name in `sigmill audit status`.",
)
@json_option
@click.pass_obj
def export_record(  # noqa: PLR0913 - an option each
    output: Output,
    /,
    *,
    config: Path,
    tenant: str,
    from_ms: int,
    to_ms: int | None,
    out: Path,
    former: str | None,
) -> Exit:
    """Export a tenant's record of this host.

    The bundle has the newest checkpoint, the entries of the time range, and the digests, signature hashes and client
    signatures beside them: the tenant's own content. `sigmill audit verify` checks it offline. Run it on each host that
    serves the tenant. A worker may be writing meanwhile.

    Each entry is held against its hash. What is damaged is exported as it is and named; `sigmill audit verify` finds it, too.

    Exit code 1 if an entry or a hash is damaged, 75 if this host has no checkpoint of the tenant.
    """
    service = load_service(config)
    if not re.match(NAME_PATTERN, tenant):
        raise ConfigError(
            "--tenant", "", f"{tenant!r} is no name of a tenant", "`sigmill tenants list` shows them."
        )
    try:
        folder = log_folder(service.state_dir, tenant)
        if former is not None:
            folder = _former(service.state_dir, former) / LOGS_NAME / tenant
        if newest_checkpoint(folder) is None:
            raise NotSealed(f"{folder}: no checkpoint")
        exported = export(folder, out, from_ms=from_ms, to_ms=to_ms)
    except OSError as error:
        raise LogUnavailable(f"{error.filename}: {error.strerror}") from error
    head = exported.checkpoint
    if output.as_json:
        line = ExportLine(
            origin=head.origin,
            size=head.size,
            first=exported.first,
            end=exported.end,
            folder=str(out),
            minimum=exported.minimum,
            damage=exported.damage,
        )
        emit(line)
        return _exit(exported)
    count = exported.end - exported.first
    print_message(f"{out}: {count:,} of {counted(head.size, 'entry', 'entries')} of {head.origin}")
    if exported.minimum and exported.first == exported.minimum:
        print_message(removed_sentence(exported.minimum))
    for place in exported.damage:
        print_message(f"damaged: {folder}/{place}")
    if exported.damage:
        print_message("restore these files from a copy, and export again")
    return _exit(exported)


def _exit(exported: Exported) -> Exit:
    return Exit.FAILED if exported.damage else Exit.DONE


def _former(state_dir: Path, name: str) -> Path:
    """Folder of a record that was given up. Raises ``ConfigError`` where there is none of this name, or ``OSError``."""
    there = {path.name: path for path in former_records(state_dir)}
    if name not in there:
        names = ", ".join(there) or "none"
        raise ConfigError(
            "--former", "", f"{name!r} is no former record here ({names})", "See `sigmill audit status`."
        )
    return there[name]
