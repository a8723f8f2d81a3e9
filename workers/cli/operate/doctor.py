"""``sigmill doctor``: what is wrong with this host, its tokens and its Redis, and the line that mends it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import click

from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.doctor.findings import Finding, State, worst
from workers.doctor.run import findings_of

_EXITS: Final = {State.MEND: Exit.FAILED, State.UNASKED: Exit.RETRY, State.GOOD: Exit.DONE}
_MARKS: Final = {State.GOOD: "ok", State.NOTE: "note", State.MEND: "MEND", State.UNASKED: "?"}


@click.command()
@config_option
@click.option("--all", "show_all", is_flag=True, help="Show what is good, too.")
@json_option
@click.pass_obj
def doctor(output: Output, /, *, config: Path, show_all: bool) -> Exit:
    """Examine the files, Redis, this host and every token; each finding with the line that mends it.

    Run it on a worker's host, as the worker's user. It changes nothing, logs in at most once into each token, and tries no PIN that was refused before. Exit code 0: nothing to mend; 1: something; 75: a part could not be asked.
    """
    findings: list[Finding] = []
    for finding in findings_of(config):
        findings.append(finding)
        if output.as_json:
            emit(finding)
        elif show_all or finding.state is not State.GOOD:
            _print(finding)
    if not output.as_json:
        counts = Counter(finding.state for finding in findings)
        print_message(
            f"{len(findings)} checks: {counts[State.GOOD]} good, {counts[State.NOTE]} to know,"
            f" {counts[State.MEND]} to mend, {counts[State.UNASKED]} not asked"
        )
    return _EXITS[worst(findings)]


def _print(finding: Finding) -> None:
    click.echo(f"{_MARKS[finding.state]:<5} {finding.check}: {finding.subject}: {finding.says}")
    if finding.mend:
        click.echo(f"      {finding.mend}")
