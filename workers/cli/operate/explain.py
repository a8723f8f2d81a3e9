"""``sigmill explain``: prints the meaning, audience and remedy of an error code."""

from __future__ import annotations

import textwrap
from typing import Final

import click

from queueing.config.toml import nearest
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_table
from workers.error_help.catalogue import PAGES, Page

_WIDTH: Final = 100


@click.command()
@click.argument("code", required=False)
@json_option
@click.pass_obj
def explain(output: Output, /, *, code: str | None) -> Exit:
    """Explain the error CODE: meaning, who is affected, whether a retry helps, and the commands to fix it.

    Codes are printed in brackets after an `error:`, as `code` in JSON, and as `reason` in metrics. Without CODE, list
    all codes.
    """
    if code is None:
        _list(output)
        return Exit.DONE
    page = PAGES.get(code.strip("[]"))
    if page is None:
        raise click.UsageError(f"no error has the code `{code}`. {nearest(code, PAGES)}")
    if output.as_json:
        emit(page)
    else:
        _print(page)
    return Exit.DONE


def _list(output: Output) -> None:
    pages = [PAGES[code] for code in sorted(PAGES)]
    if output.as_json:
        for page in pages:
            emit(page)
        return
    print_table(
        ("CODE", "EXIT", "TRY AGAIN", "MEANING"), [(p.code, p.exit_code, p.retryable, p.title) for p in pages]
    )


def _print(page: Page) -> None:
    click.echo(f"{page.code}: {page.title}")
    click.echo(f"{_retry_text(page)} (exit code {page.exit_code})\n")
    click.echo(textwrap.fill(page.means, _WIDTH))
    click.echo("\nWho meets it")
    click.echo(_indented(page.met_by))
    click.echo("\nWhat to do")
    for step in page.steps:
        click.echo(_indented(step.text))
        if step.command:
            click.echo(f"    $ {step.command}")


def _retry_text(page: Page) -> str:
    if page.retryable:
        return "Try again later"
    return "Denied: trying again changes nothing" if page.denied else "Trying the same again fails again"


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
