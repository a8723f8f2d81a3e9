"""``sigmill audit export``: a part of a tenant's record as a folder that proves itself."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic
from time import sleep as pause
from typing import Final

import click
import msgspec

from queueing.errors import ConfigError, LogUnavailable, ProofInvalid
from queueing.errors.counts import agreed, counted
from queueing.protocol.names import NAME_PATTERN
from workers.cli.audit.times import from_option, to_option
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import load_service
from workers.record.bundle.writer import Exported, export, newest_checkpoint
from workers.record.folder import FOLDER_NAME, LOGS_NAME
from workers.record.integrity.blocks import DamagedPlace
from workers.record.published import is_made_again
from workers.record.replacement import former_records
from workers.record.retention.minimum import removed_sentence


class NotSealed(LogUnavailable):
    """This host has no checkpoint of the tenant yet."""

    hint = "The record begins with the tenant's first job on this host; checkpoints follow it within a second or two."


class SealedAgain(LogUnavailable):
    """The sealer was killed, and has not made all entries of the newest checkpoint again."""

    hint = (
        "Try again in a minute. The entries are in the write-ahead log; where no sealer runs (`sigmill audit status`), start the"
        " worker of this host."
    )


MOST_WAIT_S: Final = 15.0
"""A sealer is restarted within seconds, and reads a minute of the write-ahead log again in less."""

PAUSE_S: Final = 0.2


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
    rows_with_more: int = 0


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

    An earlier bundle in the folder is replaced where this one has all of its entries, and this one is refused otherwise.

    Each entry is held against its hash. What is damaged is exported as it is and named; `sigmill audit verify` finds it, too.

    Exit code 1 if an entry or a hash is damaged, 75 if this host has no checkpoint of the tenant, or if a sealer that was killed
    has not made all of its entries again within 15 seconds.
    """
    service = load_service(config)
    if not re.match(NAME_PATTERN, tenant):
        raise ConfigError(
            "--tenant", "", f"{tenant!r} is no name of a tenant", "`sigmill tenants list` shows them."
        )
    try:
        record = service.state_dir / FOLDER_NAME
        if former is not None:
            record = _former(service.state_dir, former)
        folder = record / LOGS_NAME / tenant
        if newest_checkpoint(folder) is None:
            raise NotSealed(f"{folder}: no checkpoint")
        exported = _whole(record, tenant, out, from_ms=from_ms, to_ms=to_ms, is_former=former is not None)
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
            rows_with_more=exported.rows_with_more,
        )
        emit(line)
        return _exit(exported)
    count = exported.end - exported.first
    print_message(f"{out}: {count:,} of {counted(head.size, 'entry', 'entries')} of {head.origin}")
    if exported.minimum and exported.first == exported.minimum:
        print_message(removed_sentence(exported.minimum))
    if exported.rows_with_more:
        rows = counted(exported.rows_with_more, "item row")
        print_message(
            f"{rows} {agreed(exported.rows_with_more, 'has', 'have')} more than this version reads; it is not in the bundle"
        )
    for place in exported.damage:
        print_message(f"damaged: {folder}/{place}")
    if exported.damage:
        print_message("restore these files from a copy, and export again")
    return _exit(exported)


def _whole(
    record: Path, tenant: str, out: Path, *, from_ms: int, to_ms: int | None, is_former: bool
) -> Exported:
    """Export; tried again while the sealer makes entries of the checkpoint again, which may begin while this reads.

    Raises ``SealedAgain`` where that takes longer than ``MOST_WAIT_S``, and what ``export`` does.
    """
    until_s = monotonic() + MOST_WAIT_S
    tried = is_former  # nothing is made again in a record that was given up
    while True:
        problem: OSError | ProofInvalid | None = None
        exported: Exported | None = None
        try:
            exported = export(record / LOGS_NAME / tenant, out, from_ms=from_ms, to_ms=to_ms)
        except (FileNotFoundError, ProofInvalid) as error:
            problem = error
        if is_former or not is_made_again(record, tenant):
            if exported is not None:
                return exported
            if problem is not None and tried:
                raise problem
            tried = True  # the sealer may have ended between the two looks
            continue
        if monotonic() >= until_s:
            raise SealedAgain(f"{record / LOGS_NAME / tenant} is made again up to its checkpoint")
        pause(PAUSE_S)


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
