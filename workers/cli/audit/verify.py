"""``sigmill audit verify``: verification of an exported record, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from queueing.ed25519 import load_libsodium
from queueing.errors import InputUnreadable
from queueing.errors.counts import agreed, counted
from workers.cli.audit.entry_meter import EntryMeter
from workers.cli.audit.kept_checkpoints import checkpoint_option, kept_checkpoints
from workers.cli.audit.key_files import (
    client_keys,
    service_key_option,
    service_keys,
    trusted_keys,
    vkeys_option,
)
from workers.cli.audit.tenant_option import tenant_name
from workers.cli.audit.times import utc_text
from workers.cli.audit.verified_lines import ClockLine, KeyLine, LossLine, OriginLine, ProblemLine
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.record.bundle.findings import Problem
from workers.record.bundle.lane_sums import LaneSums
from workers.record.bundle.others import others_in
from workers.record.bundle.reader import BundleReader, origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.retention.minimum import removed_sentence

MOST_PROBLEMS: Final = 100
"""Problems that are printed for each origin: a log that was changed in one place can have one for each entry behind it."""


_NAMES: Final = 3
"""Names of files that nothing reads, of each origin, that people read; JSON has more."""


@click.command("verify")
@click.argument("bundle", type=click.Path(file_okay=False, path_type=Path))
@service_key_option
@vkeys_option
@click.option(
    "--clients",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Public keys of your clients and issuers, one 'NAME BASE64' a line, as in the tenant's file. Without it their signatures are not verified.",
)
@click.option(
    "--tenant", callback=tenant_name, help="The tenant whose record it must be; of any tenant without it."
)
@checkpoint_option
@json_option
@click.pass_obj
def verify_record(
    output: Output,
    /,
    *,
    bundle: Path,
    tenant: str | None,
    checkpoint: tuple[Path, ...],
    **files: Path | None,
) -> Exit:
    """Verify an exported record, offline.

    Every entry of the range is hashed, and the tree over all of them must be that of the signed checkpoint; each outcome
    belongs to an intent that is before it, and its digests and signature hashes to both; what the intent says is what its envelope
    asks for. The calls of C_Sign that a lane has
    made by its end are those in its entries. With --clients, each signed
    envelope has the signature of a client of yours; with --checkpoint, the log is the continuation of one that you kept. Compare the
    times that it shows of each log with those that you asked for: what was not exported is not verified. A warning tells of each place
    at which the host lost something: a damaged stretch of its log, or an intent or outcome that is in no entry. It is no problem of the
    proofs.

    Exit code 0 if everything holds, 1 with a line `code place what` for each problem.
    """
    service_key, vkeys, clients = files["service_key"], files["vkeys"], files["clients"]
    if service_key is None and vkeys is None:
        raise click.UsageError("--service-key or --vkeys is needed: without a key of yours nothing is proven")
    service = [] if service_key is None else service_keys(service_key)
    trusted = [] if vkeys is None else trusted_keys(vkeys)
    keys = None if clients is None else client_keys(clients)
    if keys is not None:
        load_libsodium()
    kept = kept_checkpoints(checkpoint)
    try:
        origins, others = origins_of(bundle), others_in(bundle)
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    count, bad, losses, missing_logs = len(origins), 0, 0, {each.origin for each in kept}
    for origin in _one_by_one(origins):
        line = _verify(
            output,
            OriginVerifier(
                origin, trusted=trusted, service_keys=service, clients=keys, tenant=tenant or "", kept=kept
            ),
            origin.name,
        )
        missing_logs.discard(line.log)
        bad += line.problems
        losses += line.losses
    for missing in sorted(missing_logs):
        bad += 1
        what = "no log of this name holds in the bundle, and a checkpoint of it was kept"
        _tell(output, Problem("kept.missing", missing, what))
    if not output.as_json:
        for name in others.first:
            print_message(f"{name}: not verified, it is no part of a bundle")
        if others.count > len(others.first):
            more = counted(others.count - len(others.first), "more name", "more names")
            print_message(f"{more} in the bundle: not verified, no part of it")
        if keys is None:
            print_message("client signatures were not verified: no --clients")
        lost = (
            f", and {counted(losses, 'loss', 'losses')} {agreed(losses, 'is', 'are')} told" if losses else ""
        )
        print_message(
            f"{counted(count, 'origin')}: {counted(bad, 'problem') if bad else 'everything holds'}{lost}"
        )
    return Exit.FAILED if bad else Exit.DONE


def _one_by_one(origins: list[BundleReader]) -> Iterator[BundleReader]:
    """Each of them in order; the list is empty then. A reader keeps tiles, and a bundle may have thousands of origins."""
    origins.reverse()
    while origins:
        yield origins.pop()


def _verify(output: Output, verifier: OriginVerifier, name: str) -> OriginLine:
    found = 0
    meter = EntryMeter()
    for problem in verifier.run(meter):
        found += 1
        meter.clear()
        if found > MOST_PROBLEMS:
            continue
        _tell(output, problem)
    meter.clear()
    verified = verifier.verified
    line = OriginLine(
        origin=name,
        log=verified.log,
        size=verified.size,
        first=verified.first,
        end=verified.end,
        from_at=None if verified.from_ms is None else utc_text(verified.from_ms),
        to_at=None if verified.to_ms is None else utc_text(verified.to_ms),
        entries=verified.entries,
        signatures=verified.signatures,
        client_signatures=verified.client_signatures,
        signatures_under_grants=verified.granted,
        unproven_envelopes=verified.unproven,
        jobs_without_end=verified.unended,
        problems=found,
        minimum=verified.minimum,
        clock_set_back=tuple(
            ClockLine(entry=each.entry, from_at=utc_text(each.before_ms), to_at=utc_text(each.at_ms))
            for each in verified.set_back
        ),
        losses=verified.losses,
        lost=tuple(LossLine(entry=each.entry, code=each.code, message=each.what) for each in verified.lost),
        keys=_keys(verified.lanes),
        lanes_without_end=verified.lanes.running,
        calls_in_doubt=verified.lanes.in_doubt,
        unread=verified.unread.count,
        unread_files=tuple(
            name.encode("utf-8", "backslashreplace").decode() for name in verified.unread.first
        ),
        rows_with_more=verified.rows_with_more,
    )
    if output.as_json:
        emit(line)
    else:
        _print(line)
    return line


def _tell(output: Output, problem: Problem) -> None:
    if output.as_json:
        emit(ProblemLine(code=problem.code, place=problem.place, message=problem.what))
    else:
        print_line(str(problem))


def _print(line: OriginLine) -> None:
    """Print the line of an origin, and whatever else is to be known of it."""
    more = (
        f", {counted(line.problems - MOST_PROBLEMS, 'problem')} not shown"
        if line.problems > MOST_PROBLEMS
        else ""
    )
    if line.log:
        print_message(f"{line.origin}: {_range(line)}")
    print_message(
        f"{line.origin}: {counted(line.entries, 'entry', 'entries')}, {counted(line.signatures, 'signature')}{_granted(line)}{more}"
    )
    for key in line.keys:
        calls = f"{counted(key.calls, 'call')} of C_Sign, {counted(key.signatures, 'signature')}"
        print_message(f"{line.origin}: {key.key or 'other keys'}/{key.key_version}: {calls}")
    for sentence in _limits(line):
        print_message(f"{line.origin}: {sentence}")


def _limits(line: OriginLine) -> Iterator[str]:
    """Sentences about what the counts do not have."""
    if line.keys and (line.lanes_without_end or line.calls_in_doubt):
        yield (
            f"there may be more calls: {counted(line.lanes_without_end, 'lane')}"
            f" {agreed(line.lanes_without_end, 'has', 'have')} no end here, and"
            f" {counted(line.calls_in_doubt, 'digest')} {agreed(line.calls_in_doubt, 'was', 'were')} not answered by lanes that have"
        )
    for loss in line.lost:
        yield f"warning: {loss.code} at entry {loss.entry}: {loss.message}"
    if line.losses > len(line.lost):
        yield f"warning: {counted(line.losses - len(line.lost), 'more entry', 'more entries')} of things that were lost"
    for clock in line.clock_set_back:
        yield (
            f"warning: at entry {clock.entry} the clock of the host was set back from {clock.from_at} to {clock.to_at}: the order of"
            " entries is certain, their times there are not"
        )
    if line.unproven_envelopes:
        yield (
            f"the items of {counted(line.unproven_envelopes, 'job')} in doubt are not proven:"
            f" {agreed(line.unproven_envelopes, 'its intent is', 'their intents are')} before the range"
        )
    if line.jobs_without_end:
        yield (
            f"{counted(line.jobs_without_end, 'job')} {agreed(line.jobs_without_end, 'has', 'have')} no end here:"
            " in work at the last entry, or with an end that was left out"
        )
    if line.rows_with_more:
        yield (
            f"warning: {counted(line.rows_with_more, 'item row')} {agreed(line.rows_with_more, 'has', 'have')} more than this version"
            " reads: what a later version wrote, or something hidden there. It is not verified"
        )
    if line.unread:
        names = ", ".join(line.unread_files[:_NAMES]) + (", …" if line.unread > _NAMES else "")
        yield (
            f"warning: {counted(line.unread, 'file')} in its folder {agreed(line.unread, 'is', 'are')} no part of this log and range, as an"
            f" export that was killed leaves them, and not verified: {names}"
        )
    if line.minimum:
        yield removed_sentence(line.minimum)


def _range(line: OriginLine) -> str:
    """The log and its part that is here, in words."""
    if line.first == line.end:
        return f"none of the {counted(line.size, 'entry', 'entries')} of {line.log}"
    times = f", from {line.from_at} to {line.to_at}" if line.from_at is not None else ""
    return f"entries {line.first:,} to {line.end - 1:,} of the {line.size:,} of {line.log}{times}"


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
