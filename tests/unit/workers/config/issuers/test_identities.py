"""Identities of keys: exact claims and anchored patterns; rules that would let in more than was meant are refused or told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.fakes.config_files import tenant_text
from tests.support.fakes.grants import issuer_text
from workers.config.issuers.identities import ClaimRule
from workers.config.tenant_file import tenant_of
from workers.config.tenants import Tenant

GITHUB = """
[[keys.release.identities]]
issuer_url = "https://token.actions.example"
audience = "https://sign.example/prod"
claims = { repository_id = "4711", environment = "release" }
patterns = { ref = "refs/tags/v*" }
max_digests = 50
"""


def text(identity: str = GITHUB) -> str:
    head = tenant_text().replace("[keys.release]", '[keys.release]\nissuers = ["ci"]')
    return head + identity + issuer_text()


def load(whole: str) -> Tenant:
    return tenant_of(Path("acme.toml"), tomllib.loads(whole), {"acme"})


def test_an_identity_is_read_as_data_for_the_issuer() -> None:
    """With its place in the file, for messages about denials."""
    (rule,) = load(text()).keys["release"].identities
    assert rule.place == "keys.release.identities[0]"
    assert (rule.issuer_url, rule.audience, rule.max_digests) == (
        "https://token.actions.example",
        "https://sign.example/prod",
        50,
    )
    assert rule.claims["repository_id"] == ClaimRule(value="4711")
    assert rule.claims["ref"] == ClaimRule(value="refs/tags/v*", pattern=True)
    assert (str(rule.claims["ref"]), str(rule.claims["environment"])) == ("like `refs/tags/v*`", "`release`")


@pytest.mark.parametrize(
    "pattern, value, fits",
    [
        ("refs/tags/v*", "refs/tags/v1.2", True),
        ("refs/tags/v*", "refs/tags/v", False),
        ("refs/tags/v*", "refs/tags/v1/x", False),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main", True),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/app:pull_request:ref:refs/heads/main", False),
        ("repo:acme/*:environment:release", "repo:acme/a/b:environment:release", False),
        ("refs/tags/v*", "refs/tags/w1", False),
        ("refs/tags/v*", "x/refs/tags/v1", False),
        ("*-release", "my-release", True),
        ("*-release", "my-release-2", False),
        ("a*b*c", "abc", False),
        ("a*b*c", "axbxc", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "acb", False),
        ("ab*bc", "abc", False),
        ("ab*bc", "abbc", False),
        ("ab*bc", "abxbc", True),
        ("*x*", "axb", True),
        ("*x*", "ab", False),
        ("v.", "vx", False),
        ("v.*", "vx1", False),
        ("v*", "V1", False),
        ("rel*", "r\u0435l", False),
    ],
)
def test_a_pattern_fits_the_whole_text(pattern: str, value: str, fits: bool) -> None:
    """``*`` stands for characters of one segment, one at least; everything else stands for itself."""
    assert ClaimRule(value=pattern, pattern=True).fits(value) is fits


@pytest.mark.parametrize("value", ["4711 ", " 4711", "47110", "471", "4711\n", "4711", ""])
def test_an_exact_claim_is_equal(value: str) -> None:
    """No prefix, no suffix, no blank; and a ``*`` in it is a star."""
    assert ClaimRule(value="4711").fits(value) is (value == "4711")
    assert not ClaimRule(value="4*").fits("4711")


@pytest.mark.parametrize(
    "wanted, value, fits",
    [(1, 1, True), (1, True, False), (1, "1", False), (True, True, True), (True, 1, False), (1, 1.0, False)],
)
def test_numbers_and_booleans_are_compared_by_type(wanted: int, value: object, fits: bool) -> None:
    """JSON's true is not 1, and a text of digits is no number."""
    assert ClaimRule(value=wanted).fits(value) is fits


def test_a_hostile_value_costs_little() -> None:
    """Eight wildcards against ten thousand repetitions: bounded, where a regular expression would take for ever."""
    assert not ClaimRule(value="*a" * 8 + "b", pattern=True).fits("a" * 10_000 + "c")


@pytest.mark.parametrize(
    "old, new, key",
    [
        ('audience = "https://sign.example/prod"\n', "", "identities[0].audience"),
        ("https://token.actions.example", "x509:build", "identities[0].audience"),
        ("https://token.actions.example", "ftp://x", "identities[0].issuer_url"),
        ('{ ref = "refs/tags/v*" }', '{ ref = "*" }', "identities[0].patterns.ref"),
        ('{ ref = "refs/tags/v*" }', '{ ref = "main" }', "identities[0].patterns.ref"),
        ('{ ref = "refs/tags/v*" }', '{ ref = "*a*a*a*a*a*a*a*a*" }', "identities[0].patterns.ref"),
        ('{ ref = "refs/tags/v*" }', '{ environment = "rel*" }', "identities[0].patterns.environment"),
        ('{ repository_id = "4711", environment = "release" }', "{ repository_id = 4.7 }", "identities[0].claims[...]"),
        ('{ ref = "refs/tags/v*" }', '{ ref = "refs/**" }', "identities[0].patterns.ref"),
        ('{ repository_id = "4711", environment = "release" }', '{ repository_id = "" }', "identities[0].claims[...]"),
        ("max_digests = 50", "max_digest = 50", "identities[0].max_digest"),
        ("max_digests = 50", "max_digests = 0", "identities[0].max_digests"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(old: str, new: str, key: str) -> None:
    """One wrong line gives one error, with its place."""
    assert old in text()
    with pytest.raises(ConfigError) as caught:
        load(text().replace(old, new, 1))
    assert caught.value.key == f"keys.release.{key}"
    assert caught.value.remedy


def test_an_identity_without_claims_is_everybody() -> None:
    """All projects of a public provider: refused."""
    everybody = GITHUB.replace('claims = { repository_id = "4711", environment = "release" }', "")
    with pytest.raises(ConfigError, match="everybody"):
        load(text(everybody.replace('patterns = { ref = "refs/tags/v*" }', "")))


def test_an_identity_that_no_issuer_may_grant_is_a_mistake() -> None:
    """The key lists no issuers."""
    with pytest.raises(ConfigError, match="no issuer may grant the key"):
        load(text().replace('issuers = ["ci"]', ""))


def test_a_certificates_identity_has_no_audience() -> None:
    """SPIFFE: the name in the certificate."""
    spiffe = (
        '\n[[keys.release.identities]]\nissuer_url = "x509:build"\nclaims = { uri = "spiffe://example/b" }\n'
    )
    (rule,) = load(text(spiffe)).keys["release"].identities
    assert (rule.issuer_url, rule.audience) == ("x509:build", None)


def test_two_identities_of_the_same_tokens_permit_the_same_number() -> None:
    """Their order would say which number counts; the sentence names both."""
    other = GITHUB.replace("max_digests = 50", "max_digests = 51")
    with pytest.raises(ConfigError, match=r"identities\[1\].*identities\[0\], which fits the same") as caught:
        load(text(GITHUB + other))
    assert caught.value.key == "keys.release.identities[1].max_digests"
    assert len(load(text(GITHUB + GITHUB)).keys["release"].identities) == 2
    number = other.replace('"4711"', "4711")
    assert len(load(text(GITHUB + number)).keys["release"].identities) == 2
