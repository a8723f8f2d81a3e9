"""``sigmill audit seal``: the log of a host that goes for good."""

from __future__ import annotations

from pathlib import Path

import click

from queueing.errors import ConfigError, LogUnavailable
from workers.audit.archive import ArchiveDiffers, archive
from workers.audit.seal import SEAL_NAME, OpenLog, seal
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import load_service
from workers.state.directory import StateDirectory


class LogOpen(LogUnavailable):
    """The log is not at rest."""

    hint = (
        "Start a worker on this state_dir once more: it releases what it finds. Then stop it, and seal again."
    )


@click.command("seal")
@config_option
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy segments and seal to this folder, and compare; made where there is none.",
)
@json_option
@click.pass_obj
def seal_log(output: Output, /, *, config: Path, to: Path | None) -> Exit:
    """State that the log of this host is at rest: all that was signed is released, and no worker writes it.

    For a host, or a pod, that goes for good: run it after its worker has ended. Writes seal.json beside the
    segments, with the size and SHA-256 of each; changes nothing else there. With --to the log is then in DIR
    as well, as it was sealed, and may be removed here; started again, it goes on where it was interrupted.

    Exit code 75 when something in the log has no end yet; 2 while a worker has it, or DIR has another log.
    """
    directory = StateDirectory(load_service(config))
    directory.own()
    try:
        made = seal(directory.log_folder)
        if to is not None:
            archive(directory.log_folder, made, to)
    except OpenLog as error:
        raise LogOpen(f"{directory.log_folder}: {error}") from error
    except ArchiveDiffers as error:
        raise ConfigError(str(to), "", str(error), "Name a folder that has no other host's log.") from error
    except OSError as error:
        raise LogUnavailable(f"{error.filename}: {error.strerror}") from error
    finally:
        directory.give_up()
    if output.as_json:
        emit(made)
        return Exit.DONE
    size = sum(segment.size_bytes for segment in made.segments)
    print_message(
        f"{directory.log_folder / SEAL_NAME}: {len(made.segments)} segments, {size:,} bytes, nothing open"
    )
    if to is not None:
        print_message(f"{to}: the same; {directory.log_folder} is needed no more")
    return Exit.DONE
