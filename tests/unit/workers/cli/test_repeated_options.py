"""Options of one value that are given twice: each command refuses them, before it does anything."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

from workers.cli.main import main, sigmill
from workers.cli.shell.output import Exit

pytestmark = pytest.mark.usefixtures("unchanged_logging")


def options(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """Each option of each command below this one, with the words before it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from options(found, *words, name)
    for each in command.params:
        if isinstance(each, click.Option):
            yield words, each


def test_every_command_refuses_each_option_of_one_value_that_is_given_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With one sentence, also where both values are the same and where one of them is no value at all."""
    tried = 0
    for words, option in options(sigmill):
        if option.multiple or (option.is_flag and not option.secondary_opts):
            continue
        tried += 1
        name, other = option.opts[-1], (option.secondary_opts or option.opts)[-1]
        given = (
            (name, other)
            if option.is_flag
            else (name, "a", f"{other}=b" if other[:2] == "--" else f"{other}b")
        )
        assert main([*words, *given]) == Exit.USAGE, words
        said = capsys.readouterr().err.splitlines()[0]
        assert said == f"error: `{name}` takes one value and is given 2 times. Give it once. [usage]", words
    assert tried > 200


def test_it_is_told_as_json_where_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """As every other error."""
    assert main(["stop", "--subject", "a", "--subject", "a", "--json"]) == Exit.USAGE
    assert "`--subject` takes one value" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "--json", "--json", "key.unknown"),
        ("cancel", "--help", "--config", "a"),
        ("explain", "--", "--config", "--config"),
    ],
    ids=["a flag", "help", "words that are no options"],
)
def test_what_says_nothing_else_the_second_time_is_taken(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags; and a word behind `--` is no option."""
    main(words)
    assert "takes one value" not in capsys.readouterr().err
