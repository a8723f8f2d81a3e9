"""Rules of a tenant's keys for identities, and the decision about one identity: which keys a grant is for.

What no rule allows is denied, and the rule and the claim are named. A caller that is told about its own claims learns nothing of
tenants, keys and rules that are not for tokens of its provider and audience: those it sees as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.protocol.grants.grant import MAX_DIGESTS
from workers.issuer.identity.claims import misfit
from workers.issuer.identity.refusals import Outcome, TokenRefused, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.config.issuers.identities import IdentityRule
    from workers.issuer.identity.signed_token import VerifiedIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRules:
    """Key of a tenant: its rules, of which one must fit, and its algorithms."""

    rules: tuple[IdentityRule, ...]
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRules:
    """Keys of a tenant that this issuer may give grants for, and the caps of the tenant's file on its grants."""

    tenant: str
    keys: Mapping[str, KeyRules]
    max_grant_ms: int
    max_digests: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Keys and algorithms that the identity may use, both in ascending order, and the least of its rules' ``max_digests``."""

    keys: tuple[str, ...]
    algorithms: tuple[str, ...]
    max_digests: int = MAX_DIGESTS


def decide(identity: VerifiedIdentity, tenant: TenantRules, wanted: Sequence[str]) -> Decision:
    """The keys among ``wanted`` that the identity may use: all of them, or it is refused. None wanted: all that it may use.

    Raises ``TokenRefused``. Costs at most the number of rules times their claims; no text is read twice.
    """
    names = sorted(set(wanted)) or sorted(tenant.keys)
    fitting: dict[str, IdentityRule] = {}
    refusals: list[TokenRefused] = []
    for name in names:
        try:
            fitting[name] = _fitting(identity, name, tenant.keys.get(name))
        except TokenRefused as refusal:
            refusals.append(refusal)
    if not fitting or (wanted and refusals):
        raise _nearest(refusals, identity)
    algorithms = sorted(set().union(*(tenant.keys[name].algorithms for name in fitting)))
    return Decision(
        tuple(fitting), tuple(algorithms), min(rule.max_digests or MAX_DIGESTS for rule in fitting.values())
    )


@dataclass(frozen=True, slots=True)
class _Misfit:
    """Misfit of a rule: the number of claims that fitted, and a sentence about one that did not."""

    fitted: int
    sentence: str


def _fitting(identity: VerifiedIdentity, name: str, key: KeyRules | None) -> IdentityRule:
    """The first rule of the key that fits. Raises ``TokenRefused`` by the rule that came nearest."""
    rules = () if key is None else key.rules
    mine = [rule for rule in rules if rule.issuer_url == identity.issuer_url]
    heard = [rule for rule in mine if rule.audience == identity.audience]
    if not mine:
        raise _no_rule(name, identity)
    if not heard:
        raise TokenRefused(
            Outcome.AUDIENCE,
            f"no identity of key `{name}` is for claim `aud` {shown(identity.audience)}",
            hint="Ask the provider for a token with the audience of client.toml, as the operator wrote it in the key's identities.",
        )
    nearest: _Misfit | None = None
    for rule in heard:
        found = _judge(identity, rule)
        if found is None:
            return rule
        if nearest is None or found.fitted > nearest.fitted:
            nearest = found
    assert nearest is not None
    raise TokenRefused(Outcome.RULE, nearest.sentence)


def _judge(identity: VerifiedIdentity, rule: IdentityRule) -> _Misfit | None:
    sentences = [
        sentence
        for claim, wanted in rule.claims.items()
        if (sentence := misfit(dict(identity.claims), claim, wanted)) is not None
    ]
    if not sentences and rule.claims:
        return None
    if not rule.claims:
        return _Misfit(0, f"rule `{rule.place}` names no claim: it fits no token")
    return _Misfit(len(rule.claims) - len(sentences), f"rule `{rule.place}`: {sentences[0]}")


def _no_rule(name: str, identity: VerifiedIdentity) -> TokenRefused:
    """Refusal of a token of whose provider the key names no identity."""
    return TokenRefused(
        Outcome.RULE,
        f"no identity of key `{name}` is for tokens of {identity.issuer_url}",
        hint="The operator adds [[keys.NAME.identities]] with this `issuer_url` to the tenant's file, and `issuers` to the key.",
    )


def _nearest(refusals: Sequence[TokenRefused], identity: VerifiedIdentity) -> TokenRefused:
    """The refusal that says most: by a claim, then by the audience, then the first one."""
    if not refusals:
        return TokenRefused(
            Outcome.RULE,
            f"the tenant has no key for tokens of {identity.issuer_url}",
            hint="The operator adds [[keys.NAME.identities]] with this `issuer_url` to the tenant's file, and `issuers` to the key.",
        )
    by_claim = [r for r in refusals if "rule `" in r.message]
    by_audience = [r for r in refusals if r.outcome is Outcome.AUDIENCE]
    return (by_claim or by_audience or list(refusals))[0]
