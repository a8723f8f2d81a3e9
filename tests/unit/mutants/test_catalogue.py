"""The catalogue of mutants: each is applicable to the code as it is, and names tests that exist."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.mutants.__main__ import selected, selections_of
from tests.mutants.catalogue import ROOT, Mutant, Stale, all_mutants, mutated

MUTANTS = all_mutants()


def mutant(name: str = "a-b", old: str = "one", tests: tuple[str, ...] = ("tests/unit",)) -> Mutant:
    return Mutant(name=name, rule="A rule.", file="code.py", old=old, new="two", tests=tests)


@pytest.mark.parametrize("one", MUTANTS, ids=[m.name for m in MUTANTS])
def test_a_mutant_fits_the_code(one: Mutant) -> None:
    """Its text is found exactly once, the change is one, and its tests are there."""
    text = (ROOT / one.file).read_text("utf-8")
    assert mutated(one, text) != text
    for test in one.tests:
        path, *names = test.split("::")
        assert (ROOT / path).exists()
        for name in names:
            assert re.search(rf"(?:def|class) {name}\b", (ROOT / path).read_text("utf-8"))


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
