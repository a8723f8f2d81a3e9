"""``sigmill doctor``: diagnoses this host, its tokens and its Redis, and prints the fix for each problem."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import click

from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.doctor.findings import Finding, State, worst
from workers.doctor.run import findings_of

_EXITS: Final = {State.FAIL: Exit.FAILED, State.SKIPPED: Exit.RETRY, State.OK: Exit.DONE}
_MARKS: Final = {State.OK: "ok", State.WARNING: "WARN", State.FAIL: "FAIL", State.SKIPPED: "skip"}


@click.command()
@config_option
@click.option("--all", "show_all", is_flag=True, help="Also print passed checks.")
@json_option
@click.pass_obj
def doctor(output: Output, /, *, config: Path, show_all: bool) -> Exit:
    """Check the files, Redis, this host and every token, and print the fix for each problem.

    Run it on a worker's host as the worker's user, or with `--config` and the issuer.toml, relay.toml or client.toml of another host. It
    changes nothing, logs in to each token at most once, and tries no PIN that was refused before. Exit code 1 if a check failed; else 75 if a check had to be skipped; else 0.
    """
    findings: list[Finding] = []
    for finding in findings_of(config):
        findings.append(finding)
        if output.as_json:
            emit(finding)
        elif show_all or finding.state is not State.OK:
            _print(finding)
    if not output.as_json:
        counts = Counter(finding.state for finding in findings)
        warnings = counts[State.WARNING]
        print_message(
            f"{counts[State.OK]} ok, {warnings} warning{'' if warnings == 1 else 's'},"
            f" {counts[State.FAIL]} failed, {counts[State.SKIPPED]} skipped"
        )
    return _EXITS[worst(findings)]


def _print(finding: Finding) -> None:
    print_line(f"{_MARKS[finding.state]:<5} {finding.check}: {finding.subject}: {finding.text}")
    if finding.fix:
        print_line(f"      {finding.fix}")
