"""``sigmill issuer check``: the issuer's file and the tenants' identities, and what the issuer would make of a token."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from queueing.errors import ConfigError, InputUnreadable
from workers.cli.issuer.options import issuer_config_option
from workers.cli.operate.check_config import Mistake
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message


class IssuerChecked(msgspec.Struct, frozen=True, kw_only=True):
    """Output in JSON. ``keys``: those that the token would get; () without a token."""

    ok: bool
    mistakes: tuple[Mistake, ...]
    warnings: tuple[Mistake, ...] = ()
    subject: str = ""
    keys: tuple[str, ...] = ()


@click.command("check")
@issuer_config_option
@click.option("--token-file", type=click.Path(path_type=Path), help="File with a token to judge.")
@click.option("--tenant", help="Tenant of that token.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="Key that it is to get; may be repeated. Default: all that it may use.",
)
@json_option
@click.pass_obj
def check(
    output: Output, /, *, config: Path, token_file: Path | None, tenant: str | None, keys: tuple[str, ...]
) -> Exit:
    """Check the issuer's file and the identities in the tenants' files; with a token, say what it would get.

    A token is verified as a request's is, by the files of keys of this host; it is not recorded as used, and nothing is signed.
    Exit code 2 if there is a mistake, 77 if the token gets nothing.
    """
    from workers.config.values import ErrorList
    from workers.issuer.checking import check_files, judge_token
    from workers.issuer.issuer_file import read_issuer

    if (token_file is None) != (tenant is None):
        raise click.UsageError("--token-file and --tenant belong together")
    errors = ErrorList()
    configuration = read_issuer(config, errors)
    warnings: list[ConfigError] = []
    if configuration is not None:
        warnings = check_files(configuration, errors)
    subject = ""
    granted: tuple[str, ...] = ()
    if configuration is not None and token_file is not None and tenant is not None and not errors.all:
        subject, granted = judge_token(configuration, _token(token_file), tenant, keys, time.time())
    checked = IssuerChecked(
        ok=not errors.all,
        mistakes=tuple(map(Mistake.of, errors.all)),
        warnings=tuple(map(Mistake.of, warnings)),
        subject=subject,
        keys=granted,
    )
    if output.as_json:
        emit(checked)
    else:
        _print(checked)
    return Exit.USAGE if errors.all else Exit.DONE


def _print(checked: IssuerChecked) -> None:
    for warning in checked.warnings:
        print_message(f"warning: {warning.file}: {warning.key}: {warning.problem}\nhint: {warning.remedy}")
    for mistake in checked.mistakes:
        place = f"{mistake.file}: {mistake.key}" if mistake.key else mistake.file
        print_message(f"error: {place}: {mistake.problem} [config.invalid]\nhint: {mistake.remedy}")
    if checked.keys:
        print_line(f"{checked.subject} gets {', '.join(checked.keys)}")
    count = len(checked.mistakes)
    print_message({0: "no mistakes", 1: "1 mistake"}.get(count, f"{count} mistakes"))


def _token(file: Path) -> str:
    from queueing.files.regular_file import read_regular

    try:
        return read_regular(file, largest_bytes=32 * 1024).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is no ASCII text"
        raise InputUnreadable(f"{file}: {why}") from None
