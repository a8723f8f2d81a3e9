"""Claims of a token found by their path, and compared with a rule: text by code points, numbers and booleans by their type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workers.issuer.identity.refusals import shown

if TYPE_CHECKING:
    from workers.issuer.identity.token_json import Json

MISSING: Final = object()
"""Value of a claim that the token does not have."""

_SEGMENT_ENDS: Final = frozenset("/:")
"""Characters that ``*`` does not stand for: it never reaches over a branch's folder, or the fields of GitHub's ``sub``."""


class AmbiguousClaim(Exception):
    """The path names two claims of the token."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Pattern of a claim: it must fit the whole text. ``*`` stands for one or more characters other than ``/`` and ``:``.

    All other characters stand for themselves. Matching takes at most the product of both lengths, whatever the text.
    """

    text: str

    def matches(self, value: str) -> bool:
        """Whether the whole of ``value`` fits."""
        first, *others = self.text.split("*")
        if not value.startswith(first):
            return False
        ends = {len(first)}
        for literal in others:
            ends = self._after(value, ends, literal)
        return len(value) in ends

    @staticmethod
    def _after(value: str, starts: set[int], literal: str) -> set[int]:
        """Positions after a ``*`` and this literal text, for each of the positions before it."""
        found: set[int] = set()
        inside = False
        for position in range(len(value) + 1):
            if inside and value.startswith(literal, position):
                found.add(position + len(literal))
            if position < len(value):
                inside = (inside or position in starts) and value[position] not in _SEGMENT_ENDS
        return found


Expected = str | int | bool | Pattern
"""Value that a rule wants of a claim."""


def find_claim(claims: dict[str, Json], path: str) -> Json | object:
    """The value at this path, ``A/B`` for the claim B within A; ``MISSING`` where there is none.

    A name of the token may itself have slashes (a URL), so a path can be read in several ways: if more than one of them leads
    to a value, ``AmbiguousClaim`` is raised.
    """
    found: list[Json] = []
    waiting: list[tuple[Json, str]] = [(claims, path)]
    while waiting:
        value, rest = waiting.pop()
        if not isinstance(value, dict):
            continue
        if rest in value:
            found.append(value[rest])
        for name, inner in value.items():
            if name and isinstance(inner, dict) and rest.startswith(f"{name}/"):
                waiting.append((inner, rest[len(name) + 1 :]))
    if len(found) > 1:
        raise AmbiguousClaim(path)
    return found[0] if found else MISSING


def misfit(claims: dict[str, Json], path: str, expected: Expected) -> str | None:
    """None where the claim fits; else a sentence that names the claim and the value that came, and not the one that is wanted."""
    try:
        value = find_claim(claims, path)
    except AmbiguousClaim:
        return f"claim `{path}` can be read in two ways in this token"
    if value is MISSING:
        return f"claim `{path}` is not in the token"
    if isinstance(expected, Pattern):
        fits = isinstance(value, str) and expected.matches(value)
    else:
        fits = type(value) is type(expected) and value == expected
    if fits:
        return None
    wanted = str if isinstance(expected, Pattern) else type(expected)
    if type(value) is not wanted:
        return f"claim `{path}` is {shown(value)}, which is {_kind(value)}: the rule has {_KINDS[wanted]}"
    return f"claim `{path}` is {shown(value)}, which is not what the rule has"


_KINDS: Final[dict[type, str]] = {
    str: "a text",
    bool: "a boolean",
    int: "a whole number",
    float: "a fraction",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "no value of JSON")
