"""Rules of keys: every claim must fit, every wanted key must be allowed, and a stranger learns nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workers.config.issuers.identities import ClaimRule, IdentityRule
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.rules import Decision, KeyRules, TenantRules, decide
from workers.issuer.identity.signed_token import TokenLife, VerifiedIdentity

URL, AUDIENCE = "https://token.example", "https://sign.example"


def rule(url: str = URL, audience: str = AUDIENCE, **claims: Any) -> IdentityRule:
    return IdentityRule(
        place="",
        issuer_url=url,
        audience=audience,
        claims={name: ClaimRule(value=value) for name, value in claims.items()},
    )


def identity(**claims: Any) -> VerifiedIdentity:
    return VerifiedIdentity(
        provider="ci",
        issuer_url=URL,
        audience=AUDIENCE,
        subject="x",
        claims=claims,
        evidence_sha256=bytes(32),
        use_id=None,
        life=TokenLife(0.0, 0.0),
    )


def tenant(**keys: list[IdentityRule]) -> TenantRules:
    return TenantRules(
        tenant="acme",
        keys={
            name: KeyRules(rules=_placed(name, rules), algorithms=frozenset({"ECDSA_SHA_256", name.upper()}))
            for name, rules in keys.items()
        },
        max_grant_ms=900_000,
        max_digests=2000,
    )


def _placed(name: str, rules: list[IdentityRule]) -> tuple[IdentityRule, ...]:
    return tuple(replace(rule, place=f"keys.{name}.identities[{i}]") for i, rule in enumerate(rules))


def refused(who: VerifiedIdentity, rules: TenantRules, *wanted: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        decide(who, rules, wanted)
    return caught.value


def test_an_identity_gets_all_keys_that_it_may_use() -> None:
    """Without wanted keys those whose rules fit, with their algorithms, both in order."""
    rules = tenant(b=[rule(ref="main")], a=[rule(ref="main")], c=[rule(ref="other")])
    assert decide(identity(ref="main"), rules, ()) == Decision(("a", "b"), ("A", "B", "ECDSA_SHA_256"))


def test_one_rule_of_several_is_enough() -> None:
    """The second rule of a key lets in what the first does not."""
    rules = tenant(a=[rule(ref="main"), rule(ref="release")])
    assert decide(identity(ref="release"), rules, ("a",)).keys == ("a",)


def test_one_wanted_key_that_is_not_allowed_refuses_all() -> None:
    """A grant for fewer keys than were asked for would fail later, in the middle of a build."""
    rules = tenant(a=[rule(ref="main")], b=[rule(ref="other")])
    refusal = refused(identity(ref="main"), rules, "a", "b")
    assert refusal.outcome is Outcome.RULE
    assert refusal.message == (
        'rule `keys.b.identities[0]`: claim `ref` is "main", which is not what the rule has'
    )


def test_all_claims_of_a_rule_must_fit() -> None:
    """One that does not fit denies, and is named."""
    rules = tenant(a=[rule(ref="main", repository_id="4711")])
    assert "`repository_id`" in refused(identity(ref="main", repository_id="4712"), rules).message


def test_the_right_text_in_another_claim_does_not_fit() -> None:
    """A branch whose name is that of the environment gets nothing."""
    rules = tenant(a=[rule(environment="release")])
    assert "`environment` is not in the token" in refused(identity(ref="release"), rules).message


def test_the_rule_that_came_nearest_is_told() -> None:
    """Of two rules the one with more fitting claims."""
    rules = tenant(
        a=[rule(ref="x", repository_id="1"), rule(ref="main", repository_id="4711", env="release")]
    )
    refusal = refused(identity(ref="main", repository_id="4711", env="test"), rules, "a")
    assert "identities[1]`: claim `env`" in refusal.message


def test_a_rule_without_claims_fits_nothing() -> None:
    """Such a rule would let in everybody with an account at the provider."""
    assert "names no claim" in refused(identity(ref="main"), tenant(a=[rule()])).message


def test_another_audience_is_refused_by_its_kind() -> None:
    """A token for another service is none for this one."""
    rules = tenant(a=[rule(audience="https://other.example", ref="main")])
    refusal = refused(identity(ref="main"), rules, "a")
    assert refusal.outcome is Outcome.AUDIENCE
    assert '"https://sign.example"' in refusal.message


def test_a_key_without_a_rule_for_the_provider_is_as_none() -> None:
    """A caller of another provider cannot tell a key that exists from one that does not."""
    rules = tenant(a=[rule(url="https://other.example", ref="main")])
    known, unknown = refused(identity(), rules, "a"), refused(identity(), rules, "z")
    assert known.message.replace("`a`", "`z`") == unknown.message


def test_a_tenant_without_keys_gives_nothing() -> None:
    """An unknown tenant has no keys, and is refused as one without a rule."""
    assert refused(identity(), tenant()).outcome is Outcome.RULE
