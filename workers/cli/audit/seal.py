"""``sigmill audit seal``: seals the write-ahead log of a decommissioned host."""

from __future__ import annotations

from pathlib import Path

import click

from queueing.errors import ConfigError, LogUnavailable
from queueing.errors.counts import counted
from workers.audit.archive import ArchiveDiffers, archive
from workers.audit.seal import SEAL_NAME, DamagedLog, OpenLog, seal
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import load_service
from workers.journal.event_spool import EventSpool
from workers.state.directory import StateDirectory


class LogOpen(LogUnavailable):
    """The log has open records."""

    hint = (
        "Start a worker with this state_dir once more: it completes open records. Stop it, then seal again."
    )


@click.command("seal")
@config_option
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy segments and seal to this folder and compare them; created if missing.",
)
@click.option(
    "--accept-damage",
    is_flag=True,
    help="Seal a damaged log, too; the seal lists the damaged places, whose records are lost.",
)
@json_option
@click.pass_obj
def seal_log(output: Output, /, *, config: Path, to: Path | None, accept_damage: bool) -> Exit:
    """Seal the write-ahead log of a decommissioned host.

    Run it after the worker of the host, or pod, has ended permanently. The seal states that every signature is released
    and that no worker writes the log: seal.json, in the log's folder, has the size and SHA-256 of each segment. With
    --to, DIR has a verified copy of the log, which may then be deleted here; an interrupted copy continues in the
    next run.

    Exit code 75 if the log has open records; 2 while a worker uses it, if it is damaged (the error names segment and
    offset), or if DIR has another log.
    """
    service = load_service(config)
    directory = StateDirectory(service.state_dir, configured_in=service.file)
    directory.own()
    try:
        events = len(EventSpool(service.state_dir))
        sealed = seal(directory.log_folder, events=events, accept_damage=accept_damage)
        if to is not None:
            archive(directory.log_folder, sealed, to)
    except DamagedLog as error:
        raise ConfigError(
            str(directory.log_folder),
            "",
            f"the log cannot be read whole: {error}",
            "Copy the log from a good disk; if its records are lost, seal it with --accept-damage.",
        ) from error
    except OpenLog as error:
        raise LogOpen(f"{directory.log_folder}: {error}") from error
    except ArchiveDiffers as error:
        raise ConfigError(
            str(to), "", str(error), "Give a folder without the log of another host."
        ) from error
    except OSError as error:
        raise LogUnavailable(f"{error.filename}: {error.strerror}") from error
    finally:
        directory.release()
    if output.as_json:
        emit(sealed)
        return Exit.DONE
    size = sum(segment.size_bytes for segment in sealed.segments)
    for place in sealed.damaged:
        print_message(
            f"{place.segment}: {place.size_bytes} bytes from offset {place.offset} are damaged and lost"
        )
    print_message(
        f"{directory.log_folder / SEAL_NAME}: {counted(len(sealed.segments), 'segment')}, {size:,} bytes, no open records"
    )
    if to is not None:
        print_message(f"{to}: identical copy; {directory.log_folder} may be deleted")
    return Exit.DONE
