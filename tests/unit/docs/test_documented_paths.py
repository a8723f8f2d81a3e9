"""Tests of the paths and test names on the pages: each exists in the repository."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ops/**/*.md"), *ROOT.glob("bench/*.md")}
)
PATH = re.compile(r"`((?:queueing|workers|bench|tests|ops|docs)/[\w./*-]+)`")
METHOD = re.compile(r"``([A-Z]\w*[a-z]\w*)\.(\w+)``")
FUNCTION = re.compile(r"``(_?[a-z]\w+)`` in\s+``([\w/]+\.py)``")
INDEX = ROOT / "docs" / "adr" / "README.md"


@cache
def heads() -> dict[Path, str]:
    """Docstring of each module that is shipped."""
    return {
        file: ast.get_docstring(ast.parse(file.read_text())) or ""
        for package in ("queueing", "workers", "bench")
        for file in sorted((ROOT / package).rglob("*.py"))
    }


@cache
def names_of_tests() -> set[str]:
    """Names of all test modules, and of all test functions."""
    files = list(ROOT.glob("tests/**/test_*.py"))
    functions = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    return functions | {file.stem for file in files}


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
    assert set(re.findall(r"\btest_\w+", page.read_text())) <= names_of_tests()


def members_of(owner: str) -> set[str]:
    """Methods, fields and members of the shipped classes of this name; nothing where there are none."""
    found: set[str] = set()
    for file in heads():
        text = file.read_text()
        if f"class {owner}" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name == owner:
                for each in ast.walk(node):
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                        found.add(each.name)
                    elif isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Store):
                        found.add(each.id if isinstance(each, ast.Name) else each.attr)
    return found


def test_a_method_that_the_head_of_a_module_names_exists() -> None:
    """``Class.method`` in the docstring of a module is a method or member of a shipped class of that name."""
    named = [(file, *found) for file, text in heads().items() for found in METHOD.findall(text)]
    members = {owner: members_of(owner) for owner in {owner for _, owner, _ in named}}
    assert any(members.values())
    assert [
        f"{file.relative_to(ROOT)}: {owner}.{name}"
        for file, owner, name in named
        if members[owner] and name not in members[owner]
    ] == []


def test_a_function_that_the_head_of_a_module_places_is_there() -> None:
    """A function that a docstring names with its file is defined in that file."""
    wrong = []
    named = [(file, *found) for file, text in heads().items() for found in FUNCTION.findall(text)]
    assert named
    for file, name, path in named:
        target = next((each for each in heads() if str(each).endswith(f"/{path}")), None)
        defined = rf"^(?:async )?(?:def {name}\(|{name}\b)"
        if target is None or not re.search(defined, target.read_text(), re.MULTILINE):
            wrong.append(f"{file.relative_to(ROOT)}: {name} in {path}")
    assert not wrong
