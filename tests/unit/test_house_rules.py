"""The rules of the tree: small folders with a map, names and sentences in the field's words, objects instead of callbacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.house.callables import callable_parameters
from tests.house.counts import long_modules
from tests.house.import_graph import all_imports
from tests.house.lost_updates import lost_updates
from tests.house.sources import (
    ELSEWHERE,
    PACKAGES,
    RELATIVE,
    docstring_heads,
    modules_in,
    nodes_of,
    sources_of,
    tree_of,
)

ROOT = Path(__file__).parents[2]
SOURCES = sources_of(ROOT)
OPS = sorted((ROOT / "ops").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FOLDERS = sorted({file.parent for file in SOURCES})
BESIDE = sorted({file.parent for folder in ("ops", "tests") for file in (ROOT / folder).rglob("*.py")})
"""Folders with modules that are not shipped."""

PROSE = sorted(
    file
    for part in (*PACKAGES, "ops", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
    for file in ((ROOT / part).rglob("*") if (ROOT / part).is_dir() else [ROOT / part])
    if file.suffix in {".py", ".lua", ".md", ".c"}
)
"""Files with text for people: code, scripts, documentation, runbooks."""

MOST_MODULES = 15
MOST_CALLABLES = 30
TABLES = {"workers/telemetry/log_events.py"}

RETIRED_WORDS = (
    "Allowances",
    "Ask",
    "Desk",
    "Draft",
    "Examination",
    "Handover",
    "JobInWork",
    "Mistakes",
    "Performer",
    "Premises",
    "Releaser",
    "Roster",
    "Slots",
    "Stand",
    "Survey",
    "Suspicion",
    "Vitals",
    "Whereabouts",
    "Wish",
)
"""Words of a private language that names once had; docs/glossary.md has the words of the field."""

STAGES = ("Desk", "Scene", "Stage", "Stand", "World")
"""Names that the parts of one unit test file once had; tests/README.md has the four stages, and how such a class is named."""

_RETIRED_PROSE = re.compile(
    r"""(?<!["`])\b(anew|at rest|by itself|goes on|gone for good|left alone|mend(s|ed|ing)?|nobody|passed over|put right"""
    r"""|set aside|stands? beside|what stands|whoever)\b(?!["`])""",
    re.IGNORECASE,
)
"""Prose that names no actor, or has a standard term: a client with write access, no process, again, repaired, skipped. What is
in quotes or code marks is a value: ``"mend"`` is a field of `sigmill doctor --json`."""


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def words_of(name: str) -> set[str]:
    """The words of a CamelCase or snake_case name, capitalised."""
    return {word.capitalize() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def breaches(paths: Iterable[Path], find: Callable[[Path], object]) -> dict[str, object]:
    """Findings of a rule by path; empty where it holds. A test of each path apart would cost more than most rules."""
    looked_at = list(paths)
    assert looked_at, "no rule holds of nothing"
    return {shown(path): found for path in looked_at if (found := find(path))}


def test_a_folder_has_at_most_fifteen_modules() -> None:
    """More than fifteen modules in a folder are two subjects."""
    counted = {shown(folder): len(modules_in(folder)) for folder in (*FOLDERS, *BESIDE)}
    assert not {folder: count for folder, count in counted.items() if count > MOST_MODULES}


def unlisted(folder: Path) -> list[str]:
    """Modules and folders that the docstring of a package lacks, and the ban of imports if it lacks that."""
    text = ast.get_docstring(tree_of(folder / "__init__.py")) or ""
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__", "__main__"}
    folders = {entry.name for entry in folder.iterdir() if (entry / "__init__.py").exists()}
    missing = sorted(name for name in modules | folders if not re.search(rf"\b{name}\b", text))
    return missing + ([] if re.search(r"never imports?\b", text, re.IGNORECASE) else ["never imports"])


def test_a_package_lists_its_modules_and_what_it_never_imports() -> None:
    """The docstring of a package names each module and folder in it, and the imports that are forbidden to it."""
    assert not breaches(FOLDERS, unlisted)


_BAN = re.compile(
    r"never imports?((?:(?:,| or|, or)? `{1,2}[a-z\d_.]+`{1,2}+)++)(?!,? \(?(?:above|apart|before|but|except|only|than)\b)"
)
"""Names in a row, of which nothing is excepted."""


def banned_in(text: str) -> list[str]:
    """Packages that a docstring bans in plain words."""
    return [
        name
        for ban in _BAN.findall(" ".join(text.split()))
        for name in re.findall(r"[a-z\d_.]+", ban)
        if name != "or"
    ]


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Modules that it names in imports, and the packages around them."""
    names = {
        f"{statement.module}.{each.name}" if isinstance(statement, ast.ImportFrom) else each.name
        for statement in all_imports(tree_of(file))
        for each in statement.names
    }
    return frozenset(
        ".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)
    )


def banned_imports(folder: Path) -> dict[str, object]:
    """Imports that the docstring of the package bans, by file."""
    banned = set(banned_in(ast.get_docstring(tree_of(folder / "__init__.py")) or ""))
    return breaches(folder.rglob("*.py"), lambda file: banned & imports_of(file)) if banned else {}


def test_a_package_does_not_import_what_its_docstring_bans() -> None:
    """Neither do its modules, nor those of the folders in it."""
    assert not breaches(FOLDERS, banned_imports)


def test_a_ban_is_read_from_a_docstring() -> None:
    """Names in a row; a sentence with an exception is left to its reader."""
    text = "Must never import ``a.b``, ``c`` or\n``d_e``: it is a lane. It never imports `f`, except in `g`."
    assert banned_in(text) == ["a.b", "c", "d_e"]
    assert banned_in("Must never import ``queueing.client`` above this folder.") == []


_RETIRED_WORDS = frozenset(word for word in RETIRED_WORDS if len(words_of(word)) == 1)


def retired_names(file: Path) -> list[str]:
    """Names of the module and its classes that are retired, or have a word that is."""
    names = [file.stem, *(node.name for node in nodes_of(file) if isinstance(node, ast.ClassDef))]
    return [name for name in names if words_of(name) & _RETIRED_WORDS or name in RETIRED_WORDS]


def test_no_class_or_module_has_a_retired_name() -> None:
    """Classes and modules are named by the field's words, or by those of docs/glossary.md."""
    assert not breaches(SOURCES, retired_names)


def retired_prose(file: Path) -> list[str]:
    """Lines with it, numbered."""
    lines = enumerate(file.read_text().splitlines(), start=1)
    return [f"{number}: {line.strip()}" for number, line in lines if _RETIRED_PROSE.search(line)]


def test_no_text_has_retired_prose() -> None:
    """Code, comments, documentation and runbooks say in the field's words what a private language said before."""
    assert not breaches(PROSE, retired_prose)


@pytest.mark.parametrize(
    "line", ["Nobody reads it.", "It is mended.", "# whoever can write", "a log at rest"]
)
def test_retired_prose_is_found(line: str) -> None:
    """In each form, at the start of a sentence too."""
    assert _RETIRED_PROSE.search(line)


@pytest.mark.parametrize(
    "line", ['FAIL = "mend"', "`note`, `mend`", "That restarted lanes know it.", "recommended"]
)
def test_values_and_parts_of_words_are_no_retired_prose(line: str) -> None:
    """A word in quotes or code marks is a value of an interface, which stays."""
    assert not _RETIRED_PROSE.search(line)


def heads_that(pattern: re.Pattern[str]) -> Callable[[Path], list[str]]:
    """Finds the docstring heads of a file that begin so."""
    return lambda file: [head for head in docstring_heads(file) if pattern.match(head)]


def test_a_docstring_begins_with_the_thing_itself() -> None:
    """'Circuit breaker of one token.', and never 'What …' or 'Where …', which state a riddle."""
    assert not breaches([*SOURCES, *OPS], heads_that(RELATIVE))


def test_a_docstring_can_be_read_without_the_one_before_it() -> None:
    """'The same for one server.' or 'Its page.' says nothing in a traceback, and 'None.' nothing anywhere."""
    assert not breaches([*SOURCES, *OPS], heads_that(ELSEWHERE))


@pytest.mark.parametrize(
    "head", ["The same, of a file.", "As ``run``.", "Its id.", "These may run.", "None.", "Of a token."]
)
def test_a_reference_to_another_docstring_is_found(head: str) -> None:
    """By the word with which it begins."""
    assert ELSEWHERE.match(head)


def test_no_class_of_a_unit_test_is_named_as_a_scene() -> None:
    """It is named by its subject, as `LoopSetup` or `FailoverRig`: two scenes would be confused."""
    units = [file for file in TESTS if ROOT / "tests" / "unit" in file.parents]
    classes = [
        (shown(file), node.name)
        for file in [*units, *(ROOT / "tests" / "support").rglob("*.py")]
        for node in nodes_of(file)
        if isinstance(node, ast.ClassDef)
    ]
    assert not [each for each in classes if words_of(each[1]) & {*STAGES}]


def test_nearly_every_docstring_of_the_tests_begins_with_the_thing_itself() -> None:
    """Fewer than one in a hundred begins with a relative clause."""
    heads = [head for file in TESTS for head in docstring_heads(file)]
    riddles = [head for head in heads if RELATIVE.match(head)]
    assert len(riddles) < len(heads) / 100, riddles


def test_a_module_has_at_most_300_lines() -> None:
    """More are two ideas; only a table, in which a row is looked up by its name, is as long as it has rows."""
    assert {each.split()[0] for each in long_modules(ROOT)} == TABLES


def test_constructors_take_objects_and_few_callables() -> None:
    """At most thirty parameters of constructors are callables, clocks included, by any name of their type."""
    shipped = [file for file in SOURCES if file.relative_to(ROOT).parts[0] != "bench"]
    found = callable_parameters(ROOT, shipped)
    assert len(found) <= MOST_CALLABLES, found


CALLABLES = """
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from package.other import Elsewhere, Thing

Clock = Callable[[], float]
Later: TypeAlias = "Callable[[], float]"
Table = Mapping[str, Clock]


class Call(Protocol):
    def __call__(self) -> float: ...


class Written:
    def __init__(self, one: Clock, /, two: Later, *, three: Call | None = None, four: Thing) -> None: ...


@dataclass(frozen=True)
class Made:
    one: Table
    two: float
    three: Callable[[], int] = field(init=False)


class Tuple(NamedTuple):
    one: Elsewhere


class NotMade:
    one: Clock
"""


def test_a_callable_is_found_under_any_name_of_its_type(tmp_path: Path) -> None:
    """An alias, an alias of an alias, a Protocol, another module's alias; in written constructors and in fields."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text(CALLABLES)
    (package / "other.py").write_text("Elsewhere = Callable[[], int]\n\n\nclass Thing:\n    pass\n")
    found = callable_parameters(tmp_path, sources_of(tmp_path, ["package"]))
    parameters = ["Written(one)", "Written(two)", "Written(three)", "Made(one)", "Tuple(one)"]
    assert found == [f"package/one.py {each}" for each in parameters]


def sleeps_in(tree: ast.Module) -> list[int]:
    """Lines that name a sleep: as ``asyncio.sleep`` or ``time.sleep``, or imported by name."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "sleep"
            and ast.unparse(node.value) in ("asyncio", "time")
        )
        or (isinstance(node, ast.ImportFrom) and "sleep" in {name.name for name in node.names})
    ]


def test_no_unit_test_sleeps() -> None:
    """It waits for an event, lets the loop turn (``tests.support.waiting.turn``), or moves a fake clock."""
    unit = {ROOT / "tests" / "unit", ROOT / "tests" / "support" / "fakes"}
    files = [file for file in TESTS if unit & {*file.parents} and "sleep" in file.read_text()]
    assert not {shown(file): lines for file in files if (lines := sleeps_in(tree_of(file)))}


@pytest.mark.parametrize(
    "line", ["await asyncio.sleep(0)", "time.sleep(1)", "from time import sleep", "wait = asyncio.sleep"]
)
def test_a_sleep_is_found_however_it_is_written(line: str) -> None:
    """A call, a reference, and an import."""
    assert sleeps_in(ast.parse("import asyncio\n" + line)) == [2]


def test_no_update_reads_before_it_waits() -> None:
    """What is awaited has a name first: ``count = await …``, then ``self.count += count``."""
    assert not {
        shown(file): lines for file in (*SOURCES, *OPS, *TESTS) if (lines := lost_updates(nodes_of(file)))
    }


@pytest.mark.parametrize(
    "line, found",
    [
        ("self.a += await b()", [2]),
        ("self.a[b] |= (await c()).d", [2]),
        ("a.b -= sum([x async for x in c])", [2]),
        ("self.a = max(self.a, await b())", [2]),
        ("a[b] = a[b] + await c()", [2]),
        ("a += await b()", []),
        ("self.a = await b()", []),
        ("self.a[await b()] = self.c", []),
        ("self.a += b", []),
    ],
)
def test_an_update_is_found_however_it_is_written(line: str, found: list[int]) -> None:
    """As one of an attribute or of an item, which other tasks can write; a local variable is one task's."""
    assert lost_updates(ast.walk(ast.parse(f"async def f(self):\n    {line}"))) == found
