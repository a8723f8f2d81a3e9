"""``sigmill audit find``: jobs in an exported record by digest, key, client, grant, job or time; events by kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.errors import InputUnreadable, ProofInvalid
from queueing.protocol.grants.grant import Subject
from queueing.protocol.grants.owners import grant_of
from queueing.protocol.jobs import job_id_of
from queueing.transparency.entries import EndEntry
from queueing.transparency.event_entries import EVENT_KINDS
from workers.cli.audit.digest_option import Digest
from workers.cli.audit.times import from_option, to_option, utc_text
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_message, print_table
from workers.record.bundle.reader import BundleReader, origins_of
from workers.record.bundle.search import (
    EventMatch,
    EventQuery,
    GrantQuery,
    Match,
    Query,
    search,
    search_events,
)
from workers.record.retention.minimum import removed_sentence

_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")


class FoundLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An outcome, or an end in doubt: its place, and what its envelope asked for.

    ``signature_sha256``: hex, of the digest that was given. ``issuer``, ``subject``, ``evidence_sha256`` (hex): of the envelope's
    grant; where nothing was signed they are what the envelope says. ``in_doubt``: kind of the end of a job without an outcome, of
    whose digests any may have been signed.
    """

    origin: str
    entry: int
    at: str
    job_id: str
    client: str
    key: str
    key_version: int
    algorithm: str
    digests: int
    signed: int
    code: str = ""
    signature_sha256: str = ""
    issuer: str = ""
    subject: str = ""
    evidence_sha256: str = ""
    in_doubt: str = ""


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """An event: its place, its kind, and its fields under their names; bytes in hex."""

    origin: str
    entry: int
    at: str
    kind: str
    event: dict[str, object]


def _not_empty(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():  # of a shell variable that is not set: every job would match
        raise click.BadParameter("is empty", param=param)
    return value


def _subject(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if _not_empty(ctx, param, value) is None:
        return None
    try:
        return msgspec.convert(value, Subject)
    except msgspec.ValidationError:
        what = "has not 1 to 512 printable ASCII characters; copy it from the log, where others are percent-encoded"
        raise click.BadParameter(what, param=param) from None


def _evidence(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and _SHA256.fullmatch(value) is None:
        raise click.BadParameter("is no SHA-256 in hex (64 characters)", param=param)
    return value


@click.command("find")
@click.argument("bundle", type=click.Path(file_okay=False, path_type=Path))
@click.option("--digest", type=Digest(), metavar="HEX", help="Jobs with this digest.")
@click.option("--key", callback=_not_empty, help="Jobs for this key.")
@click.option("--client", callback=_not_empty, help="Jobs of this client.")
@click.option("--subject", callback=_subject, help="Jobs under grants for this subject, as the log has it.")
@click.option("--issuer", callback=_not_empty, help="Jobs under grants of this issuer.")
@click.option(
    "--evidence",
    callback=_evidence,
    metavar="HEX",
    help="Jobs under grants for the token, or the certificate in DER, with this SHA-256.",
)
@click.option("--job", "job_id", callback=_not_empty, metavar="ID", help="The job with this id.")
@click.option(
    "--event",
    "kinds",
    multiple=True,
    type=click.Choice(["any", *EVENT_KINDS]),
    metavar="KIND",
    help=f"Events of this kind, instead of jobs: any, {', '.join(EVENT_KINDS)}. May be given several times.",
)
@from_option
@to_option
@json_option
@click.pass_obj
def find(
    output: Output,
    /,
    *,
    bundle: Path,
    digest: bytes | None,
    from_ms: int,
    to_ms: int | None,
    kinds: tuple[str, ...],
    **names: str | None,
) -> Exit:
    """Find jobs, or events, in an exported record; all conditions must hold.

    Jobs that ended in doubt, without an outcome, are found as well: any of their digests may have been signed. Events with an issuer or a subject are
    the stop orders against them.

    It verifies nothing: run `sigmill audit verify` on the same folder first. Exit code 1 if nothing was found.
    """
    if kinds:
        if digest or names["job_id"] or names["evidence"]:
            raise click.UsageError(
                "events have no digests, job ids or tokens: give --event without --digest, --job and --evidence"
            )
        events = EventQuery(
            kinds=frozenset(EVENT_KINDS if "any" in kinds else kinds),
            key=names["key"] or "",
            client=names["client"] or "",
            issuer=names["issuer"] or "",
            subject=names["subject"] or "",
            from_ms=from_ms,
            to_ms=to_ms,
        )
        return _find(output, bundle, events)
    query = Query(
        digest=digest or b"",
        key=names["key"] or "",
        client=names["client"] or "",
        job_id=names["job_id"] or "",
        grant=GrantQuery(
            issuer=names["issuer"] or "",
            subject=names["subject"] or "",
            evidence_sha256=bytes.fromhex(names["evidence"] or ""),
        ),
        from_ms=from_ms,
        to_ms=to_ms,
    )
    return _find(output, bundle, query)


def _find(output: Output, bundle: Path, query: Query | EventQuery) -> Exit:
    """Print the lines of all origins of the bundle."""
    try:
        found = (line for origin in origins_of(bundle) for line in _lines(origin, query))
        if output.as_json:
            return _stream(bundle, found)
        lines = list(found)
    except ProofInvalid as error:
        raise InputUnreadable(error.message) from error
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    jobs = [line for line in lines if isinstance(line, FoundLine)]
    if jobs:
        under_grants = any(line.subject for line in jobs)
        head = ("TIME", "ENTRY", "CLIENT", *(("SUBJECT",) if under_grants else ()), "KEY", "SIGNED", "JOB")
        print_table(head, [_job_row(line, under_grants=under_grants) for line in jobs])
    events = [line for line in lines if isinstance(line, EventLine)]
    if events:
        print_table(("TIME", "ENTRY", "KIND", "EVENT"), [_event_row(line) for line in events])
    return Exit.DONE if lines else _nothing(bundle)


def _stream(bundle: Path, lines: Iterator[FoundLine | EventLine]) -> Exit:
    """Each line as it is found: of a bundle of millions of jobs none is kept."""
    found = False
    for line in lines:
        found = True
        emit(line)
    return Exit.DONE if found else _nothing(bundle)


def _nothing(bundle: Path) -> Exit:
    print_message("nothing was found")
    for origin in origins_of(bundle):
        if minimum := origin.minimum():
            print_message(f"{origin.name}: {removed_sentence(minimum)}")
    return Exit.FAILED


def _lines(origin: BundleReader, query: Query | EventQuery) -> Iterator[FoundLine | EventLine]:
    if isinstance(query, Query):
        return (_line(match, query.digest) for match in search(origin, query))
    return (_event_line(match) for match in search_events(origin, query))


def _job_row(line: FoundLine, *, under_grants: bool) -> tuple[object, ...]:
    return (
        line.at,
        f"{line.origin}/{line.entry}",
        line.client,
        *((line.subject,) if under_grants else ()),
        f"{line.key}/{line.key_version}",
        f"? of {line.digests}" if line.in_doubt else f"{line.signed} of {line.digests}",
        line.job_id,
    )


def _event_row(line: EventLine) -> tuple[object, ...]:
    shown = [f"{name}={value}" for name, value in line.event.items() if value not in ("", [], {}, 0)]
    return line.at, f"{line.origin}/{line.entry}", line.kind, " ".join(shown)


def _event_line(match: EventMatch) -> EventLine:
    fields = msgspec.structs.asdict(match.entry)
    for name in ("version", "at_ms", "kind"):
        del fields[name]
    return EventLine(
        origin=match.origin,
        entry=match.index,
        at=utc_text(match.entry.at_ms),
        kind=match.entry.kind,
        event={name: _shown(value) for name, value in fields.items()},
    )


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return list(value) if isinstance(value, tuple) else value


def _line(match: Match, digest: bytes) -> FoundLine:
    envelope, entry = match.envelope, match.entry
    grant = grant_of(envelope)
    line = FoundLine(
        origin=match.origin,
        entry=match.index,
        at=utc_text(entry.at_ms),
        job_id=job_id_of(envelope.tenant, envelope.idempotency_key),
        client=envelope.client,
        key=envelope.key,
        key_version=envelope.key_version,
        algorithm=envelope.algorithm,
        digests=len(envelope.digests),
        signed=0,
        issuer="" if grant is None else grant.issuer,
        subject="" if grant is None else grant.subject,
        evidence_sha256="" if grant is None else grant.evidence_sha256.hex(),
    )
    if isinstance(entry, EndEntry):
        return msgspec.structs.replace(line, in_doubt=entry.kind)
    signature = b""
    if digest:
        items = match.row.items(envelope.digests)
        signature = next((item.signature_sha256 for item in items if item.digest == digest), b"")
    return msgspec.structs.replace(
        line,
        key_version=entry.key_version or envelope.key_version,
        digests=entry.digests,
        signed=entry.signed,
        code=entry.code,
        signature_sha256=signature.hex(),
    )
