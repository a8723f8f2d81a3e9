"""Every error code has a page, and the commands on a page exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

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
    """A page agrees with its error on retry, denial and exit code, and has all its parts."""
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
    """No page is left of a code that no longer exists."""
    assert TEXTS.keys() == BY_REASON.keys()
    assert not CODES.keys() & BY_REASON.keys()


def test_every_code_of_the_command_line_has_a_page() -> None:
    """Codes in the source of the command line have pages, and no others do."""
    named = {code for file in WORKERS_CLI.rglob("*.py") for code in _OURS.findall(file.read_text())}
    named |= {code for file in WORKERS_CLI.parent.rglob("*.py") for code in _REASON.findall(file.read_text())}
    assert named == CODES.keys()


@pytest.mark.parametrize("code, command", list(commands()))
def test_a_page_says_nothing_that_cannot_be_typed(code: str, command: str) -> None:
    """Each command on a page exists and takes these arguments; capitals are placeholders."""
    if command in {"sigmill COMMAND --help", "sigmill --version"}:
        return
    understood(command, code)


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.code)
def test_a_page_can_be_read(page: Page) -> None:
    """A page fits a terminal of 100 columns, and is complete in JSON."""
    text = run(page.code).output
    assert text.startswith(f"{page.code}: {page.title}\n")
    assert max(len(line) for line in text.splitlines() if "$ " not in line) <= 100
    for step in page.steps:
        assert step.command in text
    assert msgspec.json.decode(run(page.code, "--json").output, type=Page) == page


def test_all_codes_are_listed() -> None:
    """Without a code there is a line for each code, and an object for each in JSON."""
    lines = run().output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(PAGES)
    pages = [msgspec.json.decode(line, type=Page) for line in run("--json").output.splitlines()]
    assert [page.code for page in pages] == sorted(PAGES)


def test_a_code_that_is_mistyped_is_guessed() -> None:
    """A code in brackets, as in an error line, is accepted; a mistyped one gets a suggestion."""
    assert run("[key.unknown]").output.startswith("key.unknown:")
    mistake = run("key.unknwon").exception
    assert isinstance(mistake, click.UsageError)
    assert "Did you mean `key.unknown`?" in mistake.message
