"""``sigmill audit seal``: the log of a host that goes for good."""

from __future__ import annotations

from pathlib import Path

import click

from queueing.errors import LogUnavailable
from workers.audit.sealing import SEAL_NAME, OpenLog, seal
from workers.cli.options import config_option, json_option
from workers.cli.output import Exit, Output, emit, say
from workers.config.service_file import load_service
from workers.state_directory import StateDirectory


class LogOpen(LogUnavailable):
    """The log is not at rest."""

    hint = (
        "Start a worker on this state_dir once more: it releases what it finds. Then stop it, and seal again."
    )


@click.command("seal")
@config_option
@json_option
@click.pass_obj
def seal_log(output: Output, /, *, config: Path) -> Exit:
    """State that the log of this host is at rest: all that was signed is released, and no worker writes it.

    For a host, or a pod, that goes for good: run it after its worker has ended, then copy the log's folder away.
    Writes seal.json there, with the size and SHA-256 of each segment. Changes nothing else.

    Exit code 75 when something in the log has no end yet; 2 while a worker has it.
    """
    directory = StateDirectory(load_service(config))
    directory.own()
    try:
        made = seal(directory.log_folder)
    except OpenLog as error:
        raise LogOpen(f"{directory.log_folder}: {error}") from error
    finally:
        directory.give_up()
    if output.as_json:
        emit(made)
        return Exit.DONE
    size = sum(segment.size_bytes for segment in made.segments)
    say(f"{directory.log_folder / SEAL_NAME}: {len(made.segments)} segments, {size:,} bytes, nothing open")
    return Exit.DONE
