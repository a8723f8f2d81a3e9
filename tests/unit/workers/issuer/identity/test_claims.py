"""Claims: found by one path, and compared by code points and types; a pattern fits the whole text or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.config.issuers.identities import ClaimRule
from workers.issuer.identity.claims import MISSING, AmbiguousClaim, find_claim, misfit

CLAIMS: dict[str, Any] = {
    "repository_id": "4711",
    "ref": "refs/heads/main",
    "run_attempt": 1,
    "ref_protected": True,
    "groups": ["release"],
    "kubernetes.io": {"namespace": "build", "serviceaccount": {"name": "signer"}},
}


def pattern(text: str) -> ClaimRule:
    return ClaimRule(value=text, pattern=True)


def rule(expected: str | int | bool | ClaimRule) -> ClaimRule:
    return expected if isinstance(expected, ClaimRule) else ClaimRule(value=expected)


@pytest.mark.parametrize(
    "path, expected",
    [
        ("repository_id", "4711"),
        ("run_attempt", 1),
        ("ref_protected", True),
        ("kubernetes.io/namespace", "build"),
        ("kubernetes.io/serviceaccount/name", "signer"),
        ("ref", pattern("refs/heads/*")),
        ("ref", pattern("*/heads/m*n")),
    ],
)
def test_a_claim_that_fits_is_no_misfit(path: str, expected: str | int | bool | ClaimRule) -> None:
    """Equal texts, numbers, booleans and nested claims fit, and a text that a pattern matches."""
    assert misfit(CLAIMS, path, rule(expected)) is None


@pytest.mark.parametrize(
    "path, expected, words",
    [
        ("environment", "release", "is not in the token"),
        ("ref", "refs/heads/mai", "is not what"),
        ("ref", "refs/heads/main2", "is not what"),
        ("ref", "REFS/heads/main", "is not what"),
        ("ref", "refs/heads/m\u0430in", "is not what"),
        ("ref", "refs/heads/main\u200b", "is not what"),
        ("ref", "refs/heads/\uff4dain", "is not what"),
        ("ref", "refs/heads/main\n", "is not what"),
        ("repository_id", 4711, "which is a text: the rule has a whole number"),
        ("run_attempt", "1", "which is a whole number"),
        ("run_attempt", True, "which is a whole number: the rule has a boolean"),
        ("ref_protected", 1, "which is a boolean"),
        ("ref_protected", "true", "which is a boolean"),
        ("groups", "release", "which is a list"),
        ("kubernetes.io", "build", "which is an object"),
        ("serviceaccount/name", "signer", "is not in the token"),
        ("kubernetes.io/serviceaccount", "signer", "which is an object"),
        ("ref", pattern("refs/*"), "is not what"),
        ("ref", pattern("refs/tags/*"), "is not what"),
        ("run_attempt", pattern("*"), "the rule has a text"),
    ],
)
def test_a_claim_that_does_not_fit_is_named_with_its_value(
    path: str, expected: str | int | bool | ClaimRule, words: str
) -> None:
    """The sentence has the claim, what came, and the kind of what the rule has."""
    sentence = misfit(CLAIMS, path, rule(expected))
    assert sentence is not None
    assert f"`{path}`" in sentence
    assert words in sentence
    value = find_claim(CLAIMS, path)
    assert value is MISSING or f"is {json.dumps(value)}, which" in sentence


def test_what_the_rule_wants_is_not_told() -> None:
    """Everybody with an account at the provider has a valid token, and shall not learn the names in rules."""
    for expected in ("secret-branch", pattern("secret-*"), 4712):
        sentence = misfit(CLAIMS, "ref", rule(expected))
        assert sentence is not None
        assert "secret" not in sentence
        assert "4712" not in sentence


def test_a_value_is_shown_in_ascii_and_cut() -> None:
    """Look-alikes and control characters are seen as such, and a value of a kilobyte is no message."""
    sentence = misfit({"ref": "m\u0430in\x1b[31m\n" + "x" * 1000}, "ref", rule("main"))
    assert sentence is not None
    assert r'"m\u0430in\u001b[31m\n' in sentence
    assert len(sentence) < 250


def test_a_path_that_can_be_read_in_two_ways_is_refused() -> None:
    """A claim `a/b` beside an object `a` with `b` names no claim."""
    both: dict[str, Any] = {"a/b": "x", "a": {"b": "x"}}
    with pytest.raises(AmbiguousClaim):
        find_claim(both, "a/b")
    sentence = misfit(both, "a/b", rule("x"))
    assert sentence is not None
    assert "two ways" in sentence


@pytest.mark.parametrize(
    "path", ["", "/", "ref/", "/ref", "ref/x", "kubernetes", "kubernetes.io/", "kubernetes.io.namespace"]
)
def test_a_path_that_leads_nowhere_finds_nothing(path: str) -> None:
    """Parts of names and empty names are no claims."""
    assert find_claim(CLAIMS, path) is MISSING
