"""``sigmill support-bundle``: collects diagnostics in one file, with secrets removed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.errors import ConfigError
from workers.cli.commands import COMMANDS
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.config.service_file import load_service
from workers.support.bundle import write_bundle

_COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("check-config",),
    ("status",),
    ("workers", "list"),
    ("tokens", "list"),
    ("keys", "list"),
    ("tenants", "list"),
    ("deadletter", "list"),
    ("top", "--once"),
    ("doctor",),
)
"""Commands whose output is included; none of them changes anything, or logs in to a token to sign."""


class Bundled(msgspec.Struct, frozen=True, kw_only=True):
    """The written bundle; ``problems`` by part."""

    file: str
    size_bytes: int
    parts: int
    problems: dict[str, str]
    not_looked_for: tuple[str, ...]


@click.command("support-bundle")
@config_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Output file. Default: sigmill-support-HOST-TIME.tar.gz in this directory.",
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A log file (its last 4 MiB); may be repeated. Default: the journal of sigmill* units.",
)
@json_option
@click.pass_obj
def support_bundle(output: Output, /, *, config: Path, out: Path | None, logs: tuple[Path, ...]) -> Exit:
    """Collect versions, masked configuration, metrics, logs and command output in one archive, with secrets removed.

    Secrets are masked in the configuration, and the contents of the configured PIN and password files are masked in
    every part. A secret file that cannot be read cannot be searched for; the command prints a warning. Parts that
    cannot be collected are left out with a warning, so the command works on a broken host.
    """
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    out = out or Path(f"sigmill-support-{os.uname().nodename}-{at}.tar.gz")
    try:
        service = load_service(config)
    except ConfigError as error:
        print_message(f"warning: {error}; parts that need the configuration are left out")
        service = None
    commands = [words for words in _COMMANDS if words[0] in COMMANDS]
    try:
        manifest = write_bundle(out, config, service, logs=logs, commands=commands)
        size_bytes = out.stat().st_size
    except OSError as error:
        raise click.UsageError(f"--out {out}: {error.strerror}") from None
    if output.as_json:
        emit(
            Bundled(
                file=str(out),
                size_bytes=size_bytes,
                parts=len(manifest.parts),
                problems=manifest.problems,
                not_looked_for=manifest.not_looked_for,
            )
        )
        return Exit.DONE
    print_line(str(out))
    for name, problem in manifest.problems.items():
        print_message(f"warning: {name} is left out: {problem}")
    for file in manifest.not_looked_for:
        print_message(
            f"warning: {file} cannot be read, so its content was not searched for; run this as root to be sure"
        )
    print_message(f"{len(manifest.parts)} parts, {size_bytes / 1e6:.1f} MB; review it before you send it")
    return Exit.DONE
