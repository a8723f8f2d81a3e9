"""Tokens: each that is not exactly as expected is refused, with an outcome and a sentence."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest

from tests.support.issuer.bad_tokens import (
    ALGORITHMS,
    BAD,
    CI,
    EC_KEY,
    HEADER,
    URL,
    now,
    part,
    raw_token,
    with_payload,
)
from workers.issuer.identity.provider_keys import ProviderKeys, usable_keys
from workers.issuer.identity.refusals import TokenRefused
from workers.issuer.identity.signed_token import Provider, TokenVerifier, UnknownKey

PROVIDER = Provider(name="ci", issuer_url=URL, algorithms=frozenset(ALGORITHMS), max_token_s=3600.0)
OTHER = Provider(name="other", issuer_url="https://other.example", algorithms=frozenset({"RS256"}))
VERIFIER = TokenVerifier({"ci": PROVIDER, "other": OTHER})


def keys(fetched_s: float | None = None) -> ProviderKeys:
    by_kid, repeated = usable_keys(CI.keys)
    fetched_ms = int((time.time() if fetched_s is None else fetched_s) * 1000)
    return ProviderKeys(URL, fetched_ms, by_kid, repeated)


def refused(token: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        VERIFIER.verify(token, VERIFIER.provider_of(token), keys(), time.time())
    return caught.value


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused_by_its_kind_in_a_sentence(name: str) -> None:
    """Each kind of bad token is refused with its outcome, and the sentence names what does not fit."""
    make, outcome, words = BAD[name]
    refusal = refused(make())
    assert (refusal.outcome, refusal.reason) == (outcome, "identity.refused")
    assert words in refusal.message
    assert refusal.message.isascii()
    assert refusal.message.isprintable()
    assert len(refusal.message) < 400


def test_there_are_more_than_sixty_kinds_of_bad_tokens() -> None:
    """The list is not cut by accident."""
    assert len(BAD) > 60


def verify(token: str, now_s: float | None = None, fetched_s: float | None = None) -> Any:
    at_s = time.time() if now_s is None else now_s
    return VERIFIER.verify(token, VERIFIER.provider_of(token), keys(fetched_s), at_s)


def test_a_good_token_gives_the_identity() -> None:
    """Subject, audience and claims are those of the token."""
    identity = verify(CI.token())
    assert identity.subject == "repo:acme/app:ref:refs/heads/main"
    assert (identity.provider, identity.audience) == ("ci", CI.audience)
    assert identity.claims["repository_id"] == "4711"


def test_a_token_of_an_elliptic_curve_is_verified_on_its_own_curve() -> None:
    """ES384 under a P-384 key passes."""
    token = jwt.encode(CI.claims(), EC_KEY, algorithm="ES384", headers={"kid": "curve"})
    assert verify(token).provider == "ci"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "JOSE", None])
def test_a_token_may_say_its_type_or_not(kind: str | None) -> None:
    """JWT-SVIDs may have JOSE there, and Kubernetes says nothing."""
    assert verify(CI.token({"typ": kind})).provider == "ci"


def test_one_audience_in_a_list_is_that_audience() -> None:
    """Kubernetes writes the audience as a list of one."""
    assert verify(CI.token(aud=[CI.audience])).audience == CI.audience


@pytest.mark.parametrize("skew_s", [-59, 59])
def test_clocks_may_differ_by_a_minute(skew_s: int) -> None:
    """A token that is issued up to a minute ahead, or ended up to a minute ago, is taken."""
    at_s = now()
    token = CI.token(iat=at_s, nbf=at_s, exp=at_s + 1)
    verify(token, now_s=at_s + skew_s)


@pytest.mark.parametrize("later_s", [-11, 60, 86_400])
def test_an_unknown_key_is_waited_for_while_the_files_are_not_fresh(later_s: float) -> None:
    """A kid that the file has not makes the caller come back, for the provider may have new keys.

    So it does where the file was fetched by a clock that has been set back since: how old it is is not known.
    """
    token = raw_token({**HEADER, "kid": "new"}, CI.claims())
    with pytest.raises(UnknownKey) as caught:
        verify(token, fetched_s=time.time() + later_s)
    assert caught.value.retryable
    assert caught.value.retry_after_s == 2.0


def test_keys_of_another_provider_verify_nothing() -> None:
    """A file whose issuer is not the provider's is as none."""
    token = CI.token(iss=OTHER.issuer_url)
    with pytest.raises(UnknownKey):
        verify(token)


def test_two_encodings_of_a_signature_are_one_use() -> None:
    """Without a jti the signed part names the token, not its signature, which has several forms for ECDSA."""
    token = jwt.encode(CI.claims(jti=None), EC_KEY, algorithm="ES384", headers={"kid": "curve"})
    head = token.rpartition(".")[0]
    other = (
        head
        + "."
        + part(jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384).sign(head.encode(), EC_KEY))
    )
    assert token != other
    assert verify(token).use_id == verify(other).use_id


def test_tokens_with_one_jti_are_one_use_for_each_provider() -> None:
    """The jti counts, whatever else the token has."""
    assert verify(CI.token(jti="a")).use_id == verify(CI.token(jti="a", ref="x")).use_id
    assert verify(CI.token(jti="a")).use_id != verify(CI.token(jti="b")).use_id
    theirs = replace(keys(), issuer_url=OTHER.issuer_url)
    other = VERIFIER.verify(CI.token(jti="a", iss=OTHER.issuer_url), OTHER, theirs, time.time())
    assert other.use_id != verify(CI.token(jti="a")).use_id


def test_a_name_that_is_there_twice_is_told_in_ascii_and_cut() -> None:
    """It is the caller's own, and may be as long as the token."""
    name = "м" * 1000
    refusal = refused(with_payload(lambda text: f'{text[:-1]}, "{name}": 1, "{name}": 2}}'))
    assert '"\\u043c\\u043c' in refusal.message
    assert "… twice" in refusal.message
    assert len(refusal.message) < 200
