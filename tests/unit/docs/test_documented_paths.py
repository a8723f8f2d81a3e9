"""Tests of the paths and test names on the pages: each exists in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ops/**/*.md"), *ROOT.glob("bench/*.md")}
)
PATH = re.compile(r"`((?:queueing|workers|bench|tests|ops|docs)/[\w./*-]+)`")
INDEX = ROOT / "docs" / "adr" / "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_path_on_a_page_exists(page: Path) -> None:
    """A path on a page is a file or folder of the repository."""
    assert [path for path in PATH.findall(page.read_text()) if not list(ROOT.glob(path))] == []


def test_the_index_of_decisions_lists_each_record_by_its_title() -> None:
    """The index of decisions lists every record in order, with its number and title."""
    records = sorted(INDEX.parent.glob("0*.md"))
    titles = [record.read_text().partition("\n")[0] for record in records]
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", INDEX.read_text(), re.MULTILINE)
    assert [(f"# {number}. {title}", name) for number, name, title in listed] == [
        (title, record.name) for title, record in zip(titles, records, strict=True)
    ]


def test_every_folder_of_the_packages_is_described() -> None:
    """``docs/architecture.md`` has a line for each folder of queueing and workers."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = {
        str(folder.parent.relative_to(ROOT))
        for package in ("queueing", "workers")
        for folder in ROOT.glob(f"{package}/*/__init__.py")
    }
    assert sorted(folder for folder in folders if f"`{folder}`" not in text) == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_a_test_that_a_page_names_exists(page: Path) -> None:
    """A test that a page gives as evidence is an existing test module or function."""
    files = list(ROOT.glob("tests/**/test_*.py"))
    functions = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert set(re.findall(r"\btest_\w+", page.read_text())) <= functions | {file.stem for file in files}
