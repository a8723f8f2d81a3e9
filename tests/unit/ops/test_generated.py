"""Generated files are committed as the code generates them."""

from __future__ import annotations

import pytest

from ops.generate.files import ROOT, generated
from ops.generate.pages import cli_page
from ops.generate.pages.configuration_page import FILES
from workers.cli.commands import COMMANDS
from workers.config.service_file import SERVICE_TABLES


@pytest.mark.parametrize("path", sorted(generated()))
def test_a_generated_file_is_as_it_would_be_written(path: str) -> None:
    """A committed file equals the generated text; otherwise ``make generate`` is needed."""
    assert (ROOT / path).read_text("utf-8") == generated()[path], "run `make generate`"


def test_every_table_of_the_service_file_is_on_the_page() -> None:
    """The configuration page describes every table that the service reads."""
    described = {title.strip("[]").split(".")[0] for title in FILES["sigmill.toml"]}
    assert described == SERVICE_TABLES


def test_every_command_is_on_the_page() -> None:
    """Every command has its own heading on the command-line page."""
    text = cli_page.page()
    assert [name for name in COMMANDS if f"\n## sigmill {name}\n" not in text] == []
    assert "\n## sigmill keys create\n" in text
