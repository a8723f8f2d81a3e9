"""Tests of the ``sigmill`` commands on the pages: each exists and accepts the given arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.support.pages import PAGES, ROOT, command_lines
from workers.cli.main import sigmill
from workers.cli.shell.output import Output

_INLINE = re.compile(r"`(sigmill [a-z][^`]*--[^`]*)`")
_OF_CLICK = {"sigmill --version", "sigmill COMMAND --help"}
_SKETCH = re.compile(r"[\[\]…|]")


def commands_of(page: Path) -> Iterator[str]:
    """Commands in code blocks, and commands with options in the text, without synopses."""
    for line in command_lines(page):
        for command in line.split("; "):
            if command.startswith("sigmill ") and command not in _OF_CLICK:
                yield command
    for command in _INLINE.findall(page.read_text()):
        if not _SKETCH.search(command):
            yield " ".join(command.split())


CASES = [(page.relative_to(ROOT), command) for page in PAGES for command in commands_of(page)]


@pytest.mark.parametrize("page, command", CASES, ids=lambda value: str(value)[:60])
def test_a_documented_command_is_understood(page: Path, command: str) -> None:
    """A command on a page has all required arguments and no unknown option."""
    understood(command, str(page))


def understood(command: str, where: str) -> None:
    """Fail if the command line rejects the command; ``where`` is the page in the message."""
    words = shlex.split(command, comments=True)[1:]
    if "--help" in words:
        words.remove("--help")
        assert sigmill.get_command(click.Context(sigmill), words[0]) is not None, where
        return
    context = click.Context(sigmill, info_name="sigmill", obj=Output())
    found: click.Command = sigmill
    while isinstance(found, click.Group):
        inner = found.get_command(context, words[0])
        assert inner is not None, f"{where}: no command {words[0]}"
        found = inner
        words = words[1:]
    try:
        found.make_context(found.name, words, parent=context)
    except click.UsageError as error:
        pytest.fail(f"{where}: {command}: {error.format_message()}")


def leaves(found: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(found, click.Group):
        yield path, found
        return
    context = click.Context(found)
    for name in found.list_commands(context):
        inner = found.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}")


def test_every_command_takes_json_and_has_help() -> None:
    """Every command has ``--json``, a help text, and a help line for each option."""
    for path, command in leaves(sigmill, "sigmill"):
        options = [each for each in command.params if isinstance(each, click.Option)]
        assert "--json" in [name for option in options for name in option.opts], path
        assert command.help, path
        assert [option.name for option in options if not option.help] == [], path


def test_there_are_commands_to_check() -> None:
    """The pages are found and contain commands."""
    assert len(CASES) > 12
