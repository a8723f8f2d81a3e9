"""The catalogue of mutants: each is applicable to the code as it is, and names tests that exist."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from tests.mutants.__main__ import selected, selections_of
from tests.mutants.catalogue import ROOT, Mutant, Stale, all_mutants, mutated

MUTANTS = all_mutants()


def mutant(name: str = "a-b", old: str = "one", tests: tuple[str, ...] = ("tests/unit",)) -> Mutant:
    return Mutant(name=name, rule="A rule.", file="code.py", old=old, new="two", tests=tests)


def missing_in(mutant: Mutant) -> list[str]:
    """Tests of the mutant that are not there."""
    missing = []
    for test in mutant.tests:
        path, *names = test.split("::")
        if not (ROOT / path).exists():
            missing.append(test)
        elif names:
            text = (ROOT / path).read_text("utf-8")
            missing += [test for name in names if not re.search(rf"(?:def|class) {name}\b", text)]
    return missing


def misfit(mutant: Mutant) -> str:
    """Sentence about a mutant that does not fit the code; nothing about the others."""
    text = (ROOT / mutant.file).read_text("utf-8")
    try:
        if mutated(mutant, text) == text:
            return f"{mutant.name}: it changes nothing"
    except Stale as error:
        return str(error)
    missing = missing_in(mutant)
    return f"{mutant.name}: no such tests: {missing}" if missing else ""


def test_each_mutant_fits_the_code() -> None:
    """Its text is found exactly once, the change is one, and its tests are there."""
    assert not [sentence for sentence in map(misfit, MUTANTS) if sentence]


def test_a_mutant_whose_tests_are_not_there_is_told() -> None:
    """A file that is not there, and a name that is not in its file."""
    here = "tests/unit/mutants/test_catalogue.py"
    tests = (f"{here}::test_mutants_are_selected_by_their_names", "tests/none.py", f"{here}::test_none")
    assert missing_in(mutant(tests=tests)) == ["tests/none.py", f"{here}::test_none"]


@pytest.mark.parametrize(
    "change, why",
    [
        ({"old": "in no file\n"}, "its text is found 0 times"),
        ({"new": MUTANTS[0].old}, "it changes nothing"),
        ({"tests": ("tests/none.py",)}, "no such tests"),
    ],
    ids=["stale", "unchanged", "test that is not there"],
)
def test_a_mutant_that_does_not_fit_is_told(change: dict[str, Any], why: str) -> None:
    """One of the catalogue, of which nothing is told, with one part that is wrong."""
    assert misfit(MUTANTS[0]) == ""
    assert why in misfit(replace(MUTANTS[0], **change))


def test_mutants_have_names_of_their_own_and_there_are_many() -> None:
    """A name selects one mutant."""
    assert [name for name, count in Counter(m.name for m in MUTANTS).items() if count > 1] == []
    assert len(MUTANTS) >= 60


@pytest.mark.parametrize("text", ["", "one one", "three"])
def test_a_mutant_whose_text_is_not_there_once_is_stale(text: str) -> None:
    """Twice is as bad as never: the wrong place could be changed."""
    with pytest.raises(Stale, match=r"a-b: its text is found \d times in code.py, not once"):
        mutated(mutant(), text)


def test_mutants_are_selected_by_their_names() -> None:
    """By patterns, or all."""
    both = [mutant("pin-tried"), mutant("log-lost")]
    assert selected(both, []) == both
    assert selected(both, ["pin-*"]) == both[:1]


def test_no_test_is_run_twice_without_a_mutant() -> None:
    """A file that is also named by its folder, or a test by its file, is left out."""
    names = ("tests/unit", "tests/unit/a.py", "tests/x.py::test", "tests/x.py")
    assert selections_of([mutant(tests=(name,)) for name in names]) == ["tests/unit", "tests/x.py"]
