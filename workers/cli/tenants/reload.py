"""``sigmill tenants reload``: the workers of this host read the configuration again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from queueing.errors import TokenUnavailable
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.loading import load_scope
from workers.patience import telling
from workers.state.directory import reading_state
from workers.state.running_workers import ReloadReport, last_report, running_workers

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope

_ANSWER_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.02


class ReloadLine(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a reload on one worker; ``report`` None: no answer in time."""

    worker: int
    report: ReloadReport | None


@click.command()
@config_option
@json_option
@click.pass_obj
def reload(output: Output, /, *, config: Path) -> Exit:
    """Reload the configuration on this host's workers, and wait until they and their lanes have applied it.

    Exit code 2 if a worker rejects the configuration: it then keeps the old one as a whole. 75 if no worker runs
    here.
    """
    scope = load_scope(config)
    lines = reload_workers(scope)
    if not lines:
        raise TokenUnavailable(f"no worker runs with the state directory {scope.state_dir}")
    return print_reports(output, lines)


def reload_workers(scope: ServiceScope) -> list[ReloadLine]:
    """Reload the configuration on this host's workers; one report of each, when it and its lanes have applied it."""
    state_dir = scope.state_dir
    with reading_state(scope.file):
        workers = list(running_workers(state_dir))
    sent_ns = time.monotonic_ns()
    for pid in workers:
        os.kill(pid, signal.SIGHUP)
    return [_report_of(state_dir, pid, sent_ns) for pid in workers]


def print_reports(output: Output, lines: list[ReloadLine]) -> Exit:
    """Print the reports; the exit code that follows from them."""
    for line in lines:
        emit(line) if output.as_json else _print_report(line)
    if any(line.report is not None and line.report.outcome == "refused" for line in lines):
        return Exit.USAGE
    complete = all(line.report is not None and not line.report.lanes for line in lines)
    return Exit.DONE if complete else Exit.RETRY


def _report_of(state_dir: Path, pid: int, sent_ns: int) -> ReloadLine:
    with telling(
        f"worker {pid} and its lanes to apply the configuration, for {_ANSWER_TIMEOUT_S:.0f} s at most"
    ):
        return ReloadLine(worker=pid, report=_wait(state_dir, pid, sent_ns))


def _wait(state_dir: Path, pid: int, sent_ns: int) -> ReloadReport | None:
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        report = last_report(state_dir, pid)
        if report is not None and report.started_ns >= sent_ns:
            return report
        if pid not in running_workers(state_dir):
            return None
        time.sleep(_POLL_S)
    return None


def _print_report(line: ReloadLine) -> None:
    report = line.report
    if report is None:
        print_message(f"worker {line.worker}: no answer in time; see its log")
        return
    if report.outcome == "refused":
        print_message(
            f"error: worker {line.worker} keeps the old configuration: {report.problem} [config.invalid]"
        )
        print_message(f"hint: {report.remedy}")
        return
    parts = [f"worker {line.worker}: {report.outcome} in {report.took_s:.2f} s"]
    parts += [f"changed: {', '.join(report.changed)}"] if report.changed else []
    parts += [f"removed: {', '.join(report.gone)}"] if report.gone else []
    parts += [f"needs a restart: {', '.join(report.waiting)}"] if report.waiting else []
    print_message("; ".join(parts))
    for problem in report.lanes:
        print_message(f"worker {line.worker}: lane {problem}")
