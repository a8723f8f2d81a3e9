"""``sigmill audit keys``: keys that sign a tenant's checkpoints on this host, with the service key's statements about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.errors import ConfigError, LogUnavailable, ProofInvalid
from queueing.files.regular_file import read_regular
from queueing.protocol.names import NAME_PATTERN
from queueing.transparency.notes import ECDSA, VerifierKey, read_note
from queueing.transparency.origin_statements import OriginStatement, read_statement, verify_statement
from queueing.unix_time import in_unix_ms
from workers.cli.audit.times import utc_text
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.config.service_file import load_service
from workers.record.exchange import STATEMENTS, statement_files
from workers.record.folder import log_folder

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration

_LARGEST_BYTES = 64 * 1024


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a log: ``vkey`` as `sigmill audit verify --vkeys` takes it, and the head at which it begins.

    ``statement``: file of the statement; ``problem``: why the present service key does not vouch for it, else ''.
    """

    tenant: str
    origin: str
    vkey: str
    from_size: int
    host: str
    build: str
    issued: str
    expires: str
    statement: str
    problem: str = ""


@click.command("keys")
@config_option
@click.option("--tenant", required=True, help="The tenant.")
@json_option
@click.pass_obj
def keys(output: Output, /, *, config: Path, tenant: str) -> Exit:
    """Print the keys that sign a tenant's checkpoints on this host.

    One for each start of a sealer, as the option --vkeys of `sigmill audit verify` takes them; the comment before it says from which
    entry on the key signs, and for how long the service key vouches for it. Every statement is verified with the service key
    of the configuration; one that it did not sign is refused in a comment, before what it claims.

    Exit code 1 if there is such a statement; 75 if no key is certified yet.
    """
    service = load_service(config)
    if not re.match(NAME_PATTERN, tenant):
        raise ConfigError(
            "--tenant", "", f"{tenant!r} is no name of a tenant", "`sigmill tenants list` shows them."
        )
    folder = log_folder(service.state_dir, tenant)
    try:
        lines = [
            _line(service, tenant, file, read_regular(file, largest_bytes=_LARGEST_BYTES))
            for file in statement_files(folder)
        ]
    except OSError as error:
        raise LogUnavailable(f"{error.filename}: {error.strerror}") from error
    for line in lines:
        if output.as_json:
            emit(line)
        else:
            _print(line)
    if not lines:
        print_message(f"{folder / STATEMENTS}: no key of {tenant} is certified yet")
        return Exit.RETRY
    return Exit.FAILED if any(line.problem for line in lines) else Exit.DONE


def _line(service: ServiceConfiguration, tenant: str, file: Path, data: bytes) -> KeyLine:
    try:
        statement = read_statement(read_note(data).text)
    except ProofInvalid as error:
        return KeyLine(
            tenant=tenant,
            origin="",
            vkey="",
            from_size=0,
            host="",
            build="",
            issued="",
            expires="",
            statement=file.name,
            problem=error.message,
        )
    return KeyLine(
        tenant=tenant,
        origin=statement.head.origin,
        vkey=statement.epoch_key.text,
        from_size=statement.head.size,
        host=statement.host,
        build=statement.build,
        issued=utc_text(in_unix_ms(statement.issued)),
        expires=utc_text(in_unix_ms(statement.expires)),
        statement=file.name,
        problem=_problem(service, tenant, statement, data),
    )


def _problem(service: ServiceConfiguration, tenant: str, statement: OriginStatement, data: bytes) -> str:
    """Problem of a statement that is none of this service about this tenant; else empty."""
    key = VerifierKey(f"{service.log_name}/service", ECDSA, service.service_key.public_key.spki)
    origin = statement.head.origin
    try:
        verify_statement(data, [key], origin)
    except ProofInvalid as error:
        return error.message
    return "" if origin.split("/")[-2:-1] == [tenant] else f"it is about the log {origin}"


def _print(line: KeyLine) -> None:
    """A key is a line of its own, under its range; of a refused statement the problem comes before what it claims."""
    what = f"from entry {line.from_size}, certified {line.issued} until {line.expires}, host {line.host}, build {line.build}"
    if not line.problem:
        print_line(f"# {what}")
        print_line(line.vkey)
        return
    print_line(f"# {line.statement}: refused: {line.problem}")
    if line.vkey:
        print_line(f"# {line.statement}: it claims {line.vkey} {what}")
