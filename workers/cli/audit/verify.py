"""``sigmill audit verify``: verification of an exported record, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.errors import InputUnreadable
from workers.cli.audit.key_files import (
    client_keys,
    service_key_option,
    service_keys,
    trusted_keys,
    vkeys_option,
)
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.record.bundle.lane_sums import LaneSums
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.retention.minimum import removed_sentence

MOST_PROBLEMS: Final = 100
"""Problems that are printed for each origin: a log that was changed in one place can have one for each entry behind it."""


class ProblemLine(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is wrong, and its place: origin, and entry where there is one."""

    code: str
    place: str
    message: str


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of C_Sign with a key version that lanes have reported in the range, and signatures in it."""

    key: str
    key_version: int
    calls: int
    signatures: int


class OriginLine(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one origin: what was verified, and the problems. ``minimum``: entries before it had been removed.

    ``signatures_under_grants``: of ``signatures``. ``unproven_envelopes``: of jobs in doubt, whose intents are before the range.

    ``lanes_without_end``, ``calls_in_doubt``: why ``keys`` may have fewer calls than were made.
    """

    origin: str
    entries: int
    signatures: int
    client_signatures: int
    signatures_under_grants: int = 0
    unproven_envelopes: int = 0
    problems: int
    minimum: int = 0
    keys: tuple[KeyLine, ...] = ()
    lanes_without_end: int = 0
    calls_in_doubt: int = 0


@click.command("verify")
@click.argument("bundle", type=click.Path(file_okay=False, path_type=Path))
@service_key_option
@vkeys_option
@click.option(
    "--clients",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Public keys of your clients and issuers, one 'NAME BASE64' a line, as in the tenant's file. Without it their signatures are not verified.",
)
@json_option
@click.pass_obj
def verify_record(
    output: Output, /, *, bundle: Path, service_key: Path | None, vkeys: Path | None, clients: Path | None
) -> Exit:
    """Verify an exported record, offline.

    Every entry of the range is hashed, and the tree over all of them must be that of the signed checkpoint; each outcome
    belongs to an intent that is before it, and its digests and signature hashes to both. The calls of C_Sign that a lane has
    made by its end are those in its entries. With --clients, each signed
    envelope has the signature of a client of yours.

    Exit code 0 if everything holds, 1 with a line `code place what` for each problem.
    """
    if service_key is None and vkeys is None:
        raise click.UsageError("--service-key or --vkeys is needed: without a key of yours nothing is proven")
    service = [] if service_key is None else service_keys(service_key)
    trusted = [] if vkeys is None else trusted_keys(vkeys)
    keys = None if clients is None else client_keys(clients)
    try:
        origins = origins_of(bundle)
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    lines = [
        _verify(
            output, OriginVerifier(origin, trusted=trusted, service_keys=service, clients=keys), origin.name
        )
        for origin in origins
    ]
    bad = sum(line.problems for line in lines)
    if not output.as_json:
        if keys is None:
            print_message("client signatures were not verified: no --clients")
        print_message(f"{len(lines)} origins: " + (f"{bad} problems" if bad else "everything holds"))
    return Exit.FAILED if bad else Exit.DONE


def _verify(output: Output, verifier: OriginVerifier, name: str) -> OriginLine:
    found = 0
    for problem in verifier.run():
        found += 1
        if found > MOST_PROBLEMS:
            continue
        if output.as_json:
            emit(ProblemLine(code=problem.code, place=problem.place, message=problem.what))
        else:
            print_line(str(problem))
    verified = verifier.verified
    line = OriginLine(
        origin=name,
        entries=verified.entries,
        signatures=verified.signatures,
        client_signatures=verified.client_signatures,
        signatures_under_grants=verified.granted,
        unproven_envelopes=verified.unproven,
        problems=found,
        minimum=verified.minimum,
        keys=_keys(verified.lanes),
        lanes_without_end=verified.lanes.running,
        calls_in_doubt=verified.lanes.in_doubt,
    )
    if output.as_json:
        emit(line)
    else:
        more = f", {found - MOST_PROBLEMS} problems not shown" if found > MOST_PROBLEMS else ""
        print_message(
            f"{name}: {line.entries:,} entries, {line.signatures:,} signatures{_granted(line)}{more}"
        )
        for key in line.keys:
            calls = f"{key.calls:,} calls of C_Sign, {key.signatures:,} signatures"
            print_message(f"{name}: {key.key or 'other keys'}/{key.key_version}: {calls}")
        if verified.lanes.calls and (line.lanes_without_end or line.calls_in_doubt):
            print_message(
                f"{name}: there may be more calls: {line.lanes_without_end} lanes have no end here, and"
                f" {line.calls_in_doubt} digests were not answered by lanes that have"
            )
        if verified.unproven:
            print_message(
                f"{name}: the items of {verified.unproven} jobs in doubt are not proven: their intents are before the range"
            )
        if verified.minimum:
            print_message(f"{name}: {removed_sentence(verified.minimum)}")
    return line


def _granted(line: OriginLine) -> str:
    return f", {line.signatures_under_grants:,} of them under grants" if line.signatures_under_grants else ""


def _keys(lanes: LaneSums) -> tuple[KeyLine, ...]:
    return tuple(
        KeyLine(
            key=key,
            key_version=version,
            calls=lanes.calls[key, version],
            signatures=lanes.signed[key, version],
        )
        for key, version in sorted(lanes.calls.keys() | +lanes.signed)
    )
