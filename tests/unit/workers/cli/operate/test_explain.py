"""Every error code has its page, and what a page says to type can be typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from queueing.errors import BY_REASON
from tests.unit.docs.test_documented_commands import understood
from workers.cli.main import sigmill
from workers.cli.shell.output import Output, Tally
from workers.error_help.catalogue import PAGES, TEXTS, Page
from workers.error_help.commands import CODES

ROOT = Path(__file__).parents[5]
WORKERS_CLI = ROOT / "workers" / "cli"
_OURS = re.compile(r'ErrorObject\.final\(\s*"([a-z.]+)"')
_REASON = re.compile(r'^    reason = "([a-z.]+)"$', re.MULTILINE)


def run(*words: str) -> Result:
    return CliRunner().invoke(sigmill, ["explain", *words], obj=Output(), standalone_mode=False)


def commands() -> Iterator[tuple[str, str]]:
    for code, page in PAGES.items():
        for step in page.steps:
            if step.command.startswith("sigmill "):
                yield code, step.command


@pytest.mark.parametrize("code", sorted(BY_REASON))
def test_every_reason_has_a_page(code: str) -> None:
    """And the page says of it what the code itself does: whether to try again, and how a command ends with it."""
    page = PAGES[code]
    error = BY_REASON[code]
    tally = Tally()
    tally.add(error())
    assert (page.retryable, page.denied, page.exit_code) == (error.retryable, error.denied, tally.exit_code())
    assert page.title
    assert page.means
    assert page.met_by
    assert page.steps


def test_there_is_no_page_without_a_code() -> None:
    """A code that was taken away takes its page with it."""
    assert TEXTS.keys() == BY_REASON.keys()
    assert not CODES.keys() & BY_REASON.keys()


def test_every_code_of_the_command_line_has_a_page() -> None:
    """Those that its own source names, and no others."""
    named = {code for file in WORKERS_CLI.rglob("*.py") for code in _OURS.findall(file.read_text())}
    named |= {code for file in WORKERS_CLI.parent.rglob("*.py") for code in _REASON.findall(file.read_text())}
    assert named == CODES.keys()


@pytest.mark.parametrize("code, command", list(commands()))
def test_a_page_says_nothing_that_cannot_be_typed(code: str, command: str) -> None:
    """The command exists and takes these words; capitals stand for what the reader knows."""
    if command in {"sigmill COMMAND --help", "sigmill --version"}:
        return
    understood(command, code)


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.code)
def test_a_page_can_be_read(page: Page) -> None:
    """On a terminal, line by line; in JSON, whole."""
    text = run(page.code).output
    assert text.startswith(f"{page.code}: {page.title}\n")
    assert max(len(line) for line in text.splitlines() if "$ " not in line) <= 100
    for step in page.steps:
        assert step.command in text
    assert msgspec.json.decode(run(page.code, "--json").output, type=Page) == page


def test_all_codes_are_listed() -> None:
    """With no code: a line for each, an object for each in JSON."""
    lines = run().output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(PAGES)
    objects: list[Any] = [msgspec.json.decode(line) for line in run("--json").output.splitlines()]
    assert [each["code"] for each in objects] == sorted(PAGES)


def test_a_code_that_is_mistyped_is_guessed() -> None:
    """Brackets around it are those of the error line."""
    assert run("[key.unknown]").output.startswith("key.unknown:")
    mistake = run("key.unknwon").exception
    assert isinstance(mistake, click.UsageError)
    assert "Did you mean `key.unknown`?" in mistake.message
