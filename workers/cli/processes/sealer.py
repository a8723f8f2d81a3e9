"""``sigmill sealer``: makes the record of one state directory, until SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit

if TYPE_CHECKING:
    from workers.record.sealing import SealingLoop

NICENESS: Final = 5
"""Signing goes first on a busy host; nothing but proofs waits for the sealer."""

WATCH_S: Final = 0.5


@click.command("sealer")
@config_option
@click.option("--child-of", type=int, hidden=True, help="Process id of the worker that started it.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    hidden=True,
    help="State directory of that worker; no configuration is read then.",
)
@click.option("--log-name", hidden=True, help="Name of the logs of that worker.")
@json_option
def sealer(config: Path, child_of: int | None, state_dir: Path | None, log_name: str | None) -> Exit:
    """Make the record: per tenant, a tamper-evident log of what this host's write-ahead log says.

    The worker starts it, unless [record] has `process = "own"`: then the host starts it, for the same
    `state_dir` as the worker, as a user who may write there. It reads no PIN and connects to nothing.
    """
    from importlib.metadata import version

    from workers.config.service_file import load_service
    from workers.hsm.process_hardening import die_with_parent
    from workers.record.exchange import SEALER_FOLDER
    from workers.record.sealing import SealingLoop
    from workers.state.directory import LogInUse, own_folder
    from workers.telemetry.json_logs import log_to_stderr
    from workers.telemetry.log_writer import flush_logs

    if child_of is not None:
        die_with_parent(child_of)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    log_to_stderr()
    if state_dir is None or log_name is None:
        service = load_service(config)
        state_dir, log_name = service.state_dir, service.log_name
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(NICENESS)
    try:
        own_folder(state_dir / SEALER_FOLDER)
    except LogInUse as error:
        raise click.ClickException(f"process {error.pid} is the sealer of {state_dir}") from None
    ended = _seal(SealingLoop(state_dir, log_name=log_name, build=version("sigmill")), signals)
    flush_logs()
    return ended


def _seal(loop: SealingLoop, signals: set[signal.Signals]) -> Exit:
    """Run the loop in a thread, so that no signal meets it in a lock; returns when it has ended."""
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop,), name="sealer")
    thread.start()
    while thread.is_alive():
        received = signal.sigtimedwait(signals, WATCH_S)
        # After SIGSTOP and SIGCONT CPython returns memory that nothing has written, where the time is over by then.
        if received is not None and received.si_signo in signals:
            stop.set()
            thread.join()
    return Exit.DONE if stop.is_set() else Exit.FAILED
