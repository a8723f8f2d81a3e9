"""Claims of a token found by their path, and the sentence about one that does not fit its rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.issuer.identity.refusals import shown

if TYPE_CHECKING:
    from workers.config.issuers.identities import ClaimRule
    from workers.issuer.identity.token_json import Json

MISSING: Final = object()
"""Value of a claim that the token does not have."""


class AmbiguousClaim(Exception):
    """The path names two claims of the token."""


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


def misfit(claims: dict[str, Json], path: str, rule: ClaimRule) -> str | None:
    """Sentence about a claim that does not fit, or None. It names the claim and the value that came, not the one that is wanted."""
    try:
        value = find_claim(claims, path)
    except AmbiguousClaim:
        return f"claim `{path}` can be read in two ways in this token"
    if value is MISSING:
        return f"claim `{path}` is not in the token"
    if rule.fits(value):
        return None
    if type(value) is not type(rule.value):
        return f"claim `{path}` is {shown(value)}, which is {_kind(value)}: the rule has {_kind(rule.value)}"
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
