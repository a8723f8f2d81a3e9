"""``sigmill explain``: prints the meaning, audience and remedy of an error code."""

from __future__ import annotations

import textwrap
from typing import Final

import click

from queueing.config.toml import nearest
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_block, print_line, print_table
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
    print_line(f"{page.code}: {page.title}")
    print_line(f"{_retry_text(page)} (exit code {page.exit_code})")
    print_line()
    print_block(textwrap.fill(page.means, _WIDTH))
    print_line()
    print_line("Who meets it")
    print_block(_indented(page.met_by))
    print_line()
    print_line("What to do")
    for step in page.steps:
        print_block(_indented(step.text))
        if step.command:
            print_line(f"    $ {step.command}")


def _retry_text(page: Page) -> str:
    if page.retryable:
        return "Try again later"
    return "Denied: trying again changes nothing" if page.denied else "Trying the same again fails again"


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
