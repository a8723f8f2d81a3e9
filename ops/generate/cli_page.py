"""``docs/reference/cli.md``: what ``--help`` of each command says."""

from __future__ import annotations

from typing import Final

import click

from workers.cli.main import sigmill

_HEAD: Final = """\
# Command line

<!-- Written by `make generate` from the commands themselves; do not edit. -->

Data goes to stdout, talk to stderr; `--json` makes one JSON object per line of the data, errors included. What a person
sees is `error:` and `hint:`, with a [code](errors.md) in brackets. Exit codes: 0 all done; 77 something was denied; else
1 something failed for good; else 75 try again; 2 usage or configuration.
"""

WIDTH: Final = 100


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(_sections(sigmill, None, "sigmill"))


def _sections(command: click.Command, parent: click.Context | None, name: str) -> list[str]:
    context = click.Context(
        command,
        parent=parent,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    sections = [f"\n## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                sections += _sections(found, context, child)
    return sections
