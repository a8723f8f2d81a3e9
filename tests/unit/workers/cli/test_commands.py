"""Tables of commands name modules and attributes that exist."""

from __future__ import annotations

from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from workers.cli import commands
from workers.cli.commands import LazyCommand
from workers.cli.main import sigmill

COMMANDS = [
    (name, lazy)
    for table in vars(commands).values()
    if isinstance(table, dict)
    for name, lazy in table.items()
    if isinstance(lazy, LazyCommand)
]


@pytest.mark.parametrize("name, lazy", COMMANDS, ids=[lazy.target for _, lazy in COMMANDS])
def test_every_command_of_the_tables_exists(name: str, lazy: LazyCommand) -> None:
    """A table names modules and attributes as text: each of them must be a command of that name."""
    module, _, attribute = lazy.target.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name


@pytest.mark.parametrize("lazy", [lazy for _, lazy in COMMANDS], ids=[lazy.target for _, lazy in COMMANDS])
def test_every_summary_is_one_sentence(lazy: LazyCommand) -> None:
    """The list of commands shows one short sentence for each."""
    assert lazy.summary.endswith(".")
    assert len(lazy.summary) <= 64


def test_the_list_of_commands_imports_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sigmill --help` starts fast: it imports no command, so neither PKCS#11 nor Redis."""
    imported: list[str] = []
    monkeypatch.setattr(commands, "import_module", imported.append)
    shown = CliRunner().invoke(sigmill, ["--help"])
    assert (shown.exit_code, imported) == (0, [])
    assert all(name in shown.output for name in commands.COMMANDS)
