"""``docs/reference/cli.md``: the ``--help`` text of each command."""

from __future__ import annotations

from typing import Final

import click

from workers.cli.main import sigmill

_HEAD: Final = """\
# Command line

<!-- Written by `make generate` from the commands themselves; do not edit. -->

Data goes to stdout, messages go to stderr. `--json` prints one JSON object per line, errors included. Otherwise an error
is printed as `error:` and `hint:`, with its [code](errors.md) in brackets. The exit codes of all commands are listed with
the [errors](errors.md#exit-codes).
"""

WIDTH: Final = 100


def page() -> str:
    """Text of the page in Markdown."""
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
