"""Catalogue of mutants: small wrong changes of the critical code, each with the rule that it breaks.

``rules/*.toml`` has them in the order of the code: what must be found exactly once in a file, what stands there instead,
and the tests that must notice. A test that notices none of its mutants proves less than it says.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

ROOT: Final = Path(__file__).parents[2]
RULES: Final = Path(__file__).with_name("rules")

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Mutant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mutant. ``file`` is relative to the tree; ``tests`` are paths or node ids for pytest."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]+(?:-[a-z0-9]+)+\Z")]
    rule: _Text
    file: _Text
    old: _Text
    new: str
    tests: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mutant: tuple[Mutant, ...]


class Stale(Exception):
    """The text of a mutant is not found exactly once in its file: the code has changed, and the mutant must follow."""

    def __init__(self, mutant: Mutant, found: int) -> None:
        super().__init__(f"{mutant.name}: its text is found {found} times in {mutant.file}, not once")


def all_mutants() -> list[Mutant]:
    """Every mutant, in the order of the files."""
    found: list[Mutant] = []
    for file in sorted(RULES.glob("*.toml")):
        found += msgspec.convert(tomllib.loads(file.read_text("utf-8")), _File, strict=False).mutant
    return found


def mutated(mutant: Mutant, text: str) -> str:
    """The text of its file with the change. Raises ``Stale``."""
    found = text.count(mutant.old)
    if found != 1:
        raise Stale(mutant, found)
    return text.replace(mutant.old, mutant.new)
