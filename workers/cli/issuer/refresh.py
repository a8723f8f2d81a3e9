"""``sigmill issuer refresh``: the providers' public keys, fetched into files."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from workers.cli.issuer.options import issuer_config_option
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message

if TYPE_CHECKING:
    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.issuer.refreshing import KeyRefresher


class RefreshLine(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one provider; ``problem`` is '' for keys that were fetched."""

    provider: str
    problem: str


@click.command("refresh")
@issuer_config_option
@click.option(
    "--watch", is_flag=True, help="Go on until SIGTERM: every five minutes, and when a key is unknown."
)
@json_option
@click.pass_obj
def refresh(output: Output, /, *, config: Path, watch: bool) -> Exit:
    """Fetch the public keys of all providers into files in `keys_dir`, which the issuer's lane reads.

    Keys that cannot be fetched leave the file as it is. The exit code is 75 if a provider failed. This process needs the
    network and may write `keys_dir`; it has no secret.
    """
    from queueing.files.durable_file import make_folder
    from workers.issuer.issuer_file import load_issuer
    from workers.issuer.refreshing import KeyRefresher

    configuration = load_issuer(config)
    make_folder(configuration.keys_dir, mode=0o755)
    refresher = KeyRefresher(configuration)
    if watch:
        return _watch(configuration, refresher)
    failed = refresher.refresh_all()
    for provider in sorted(configuration.providers):
        problem = failed.get(provider, "")
        if output.as_json:
            emit(RefreshLine(provider=provider, problem=problem))
        elif problem:
            print_message(f"{provider}: {problem}")
        else:
            print_line(f"{provider}: fetched")
    return Exit.RETRY if failed else Exit.DONE


def _watch(configuration: IssuerConfiguration, refresher: KeyRefresher) -> Exit:
    from workers.issuer.refresh_socket import RefreshListener
    from workers.telemetry.json_logs import log_to_stderr
    from workers.telemetry.log_writer import flush_logs

    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    place = configuration.refresh_socket
    listener = None if place is None else RefreshListener(place, file=str(configuration.file))
    refresher.watch(listener, stop)
    flush_logs()
    return Exit.DONE
