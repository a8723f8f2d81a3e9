"""Bad tokens by what is bad, each with the outcome and the words of its refusal; and the provider whose tokens they seem to be."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.issuer.provider import TokenProvider, jwk
from tests.support.keys import rsa_key
from workers.issuer.identity.refusals import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://token.example"
CI = TokenProvider(URL, "https://sign.example/prod")
EC_KEY = ec.generate_private_key(ec.SECP384R1())
STRANGER = rsa_key(1)
ALGORITHMS = ("RS256", "ES256", "ES384")
"""Algorithms that the provider is known to use."""

CI.keys += [
    jwk(EC_KEY, "curve", "ES384"),
    jwk(rsa_key(2), "twice"),
    jwk(rsa_key(3), "twice"),
]


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header: object, payload: object, key: rsa.RSAPrivateKey = CI.key) -> str:
    """A token of these exact bytes, with a true signature."""
    text = f"{part(header)}.{part(payload)}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(text.encode(), key)
    return f"{text}.{part(signature)}"


HEADER = {"alg": "RS256", "kid": "first", "typ": "JWT"}


def with_payload(change: Callable[[str], str]) -> str:
    """A token whose payload is changed as text, and then signed."""
    return raw_token(HEADER, change(json.dumps(CI.claims())).encode())


def hs256_with_the_public_key() -> str:
    pem = CI.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"{part({**HEADER, 'alg': 'HS256'})}.{part(CI.claims())}"
    return f"{text}.{part(hmac.digest(pem, text.encode(), 'sha256'))}"


def none() -> str:
    return f"{part({**HEADER, 'alg': 'none'})}.{part(CI.claims())}."


def changed_claim() -> str:
    """The payload of one token with head and signature of another."""
    one, other = CI.token().split("."), CI.token(ref="x").split(".")
    return f"{one[0]}.{other[1]}.{one[2]}"


def now() -> int:
    return int(time.time())


NESTED = "[" * 5000 + "]" * 5000
BAD: dict[str, tuple[Callable[[], str], Outcome, str]] = {
    "no token at all": (lambda: "x", Outcome.MALFORMED, "three parts"),
    "four parts": (lambda: CI.token() + ".x", Outcome.MALFORMED, "three parts"),
    "an encrypted token": (lambda: "a.b.c.d.e", Outcome.MALFORMED, "three parts"),
    "gigantic": (lambda: CI.token(padding="x" * 16_000), Outcome.MALFORMED, "more than 16384"),
    "padding": (
        lambda: CI.token().replace(".", "=.", 1),
        Outcome.MALFORMED,
        "base64url",
    ),
    "white space": (
        lambda: CI.token().replace(".", "\n.", 1),
        Outcome.MALFORMED,
        "base64url",
    ),
    "a header that is no JSON": (lambda: raw_token(b"{", CI.claims()), Outcome.MALFORMED, "header"),
    "a header that is a list": (lambda: raw_token([], CI.claims()), Outcome.MALFORMED, "not a JSON object"),
    "a payload that is no JSON": (lambda: raw_token(HEADER, b"\xff"), Outcome.MALFORMED, "payload"),
    "an empty payload": (lambda: raw_token(HEADER, b""), Outcome.MALFORMED, "payload"),
    "a claim twice": (
        lambda: with_payload(lambda text: text.replace("{", '{"ref": "refs/heads/evil", ', 1)),
        Outcome.MALFORMED,
        '"ref" twice',
    ),
    "exp twice": (
        lambda: with_payload(lambda text: text[:-1] + f', "exp": {now() + 9999}}}'),
        Outcome.MALFORMED,
        '"exp" twice',
    ),
    "a header's name twice": (
        lambda: raw_token(b'{"alg": "none", "alg": "RS256", "kid": "first"}', CI.claims()),
        Outcome.MALFORMED,
        '"alg" twice',
    ),
    "a name twice deep inside": (
        lambda: with_payload(lambda text: text[:-1] + ', "a": {"b": [{"c": 1, "c": 2}]}}'),
        Outcome.MALFORMED,
        '"c" twice',
    ),
    "5,000 brackets": (
        lambda: raw_token(HEADER, f'{{"iss": "{URL}", "a": {NESTED}}}'.encode()),
        Outcome.MALFORMED,
        "nested",
    ),
    "nine levels": (
        lambda: with_payload(lambda text: text[:-1] + ', "a": ' + "[" * 9 + "]" * 9 + "}"),
        Outcome.MALFORMED,
        "nested more than 8",
    ),
    "a thousand values": (lambda: CI.token(groups=list(range(1000))), Outcome.MALFORMED, "more than 512"),
    "NaN": (
        lambda: with_payload(lambda text: text[:-1] + ', "a": NaN}'),
        Outcome.MALFORMED,
        "not JSON",
    ),
    "a number of 5,000 digits": (
        lambda: with_payload(lambda text: text[:-1] + ', "a": ' + "9" * 5000 + "}"),
        Outcome.MALFORMED,
        "not JSON",
    ),
    "an infinite number": (
        lambda: with_payload(lambda text: text.replace(f'"exp": {CI.claims()["exp"]}', '"exp": 1e999')),
        Outcome.MALFORMED,
        "not JSON",
    ),
    "no iss": (lambda: CI.token(iss=None), Outcome.CLAIMS, "`iss`"),
    "iss as a list": (lambda: raw_token(HEADER, {**CI.claims(), "iss": [URL]}), Outcome.CLAIMS, "`iss`"),
    "an unknown issuer": (lambda: CI.token(iss="https://evil.example"), Outcome.PROVIDER, "no such provider"),
    "an issuer with a slash more": (lambda: CI.token(iss=f"{URL}/"), Outcome.PROVIDER, "no such provider"),
    "alg none": (none, Outcome.HEADER, '"none"'),
    "alg None": (
        lambda: f"{part({**HEADER, 'alg': 'None'})}.{part(CI.claims())}.",
        Outcome.HEADER,
        '"None"',
    ),
    "HS256 with the public key": (hs256_with_the_public_key, Outcome.HEADER, '"HS256"'),
    "an algorithm that the provider does not use": (
        lambda: raw_token({**HEADER, "alg": "PS256"}, CI.claims()),
        Outcome.HEADER,
        '"PS256"',
    ),
    "alg as a list": (lambda: raw_token({**HEADER, "alg": ["RS256"]}, CI.claims()), Outcome.HEADER, "`alg`"),
    "no alg": (lambda: raw_token({"kid": "first"}, CI.claims()), Outcome.HEADER, "`alg`"),
    "another curve than the key's": (
        lambda: raw_token({**HEADER, "alg": "ES256", "kid": "curve"}, CI.claims()),
        Outcome.KEY,
        "`kid`",
    ),
    "an algorithm of another kind of key": (
        lambda: raw_token({**HEADER, "alg": "ES384"}, CI.claims()),
        Outcome.KEY,
        "`kid`",
    ),
    "no kid": (lambda: raw_token({"alg": "RS256"}, CI.claims()), Outcome.KEY, "`kid`"),
    "kid as a number": (lambda: raw_token({**HEADER, "kid": 1}, CI.claims()), Outcome.KEY, "`kid`"),
    "an unknown kid": (lambda: raw_token({**HEADER, "kid": "x"}, CI.claims()), Outcome.KEY, "no key"),
    "a kid that two keys have": (
        lambda: raw_token({**HEADER, "kid": "twice"}, CI.claims()),
        Outcome.KEY,
        "two keys",
    ),
    **{
        f"a {name} header": (
            lambda name=name: CI.token({name: "https://evil.example/keys"}),  # type: ignore[misc]
            Outcome.HEADER,
            f"`{name}`",
        )
        for name in ("jku", "x5u", "x5c", "jwk", "zip")
    },
    "crit": (
        lambda: raw_token({**HEADER, "crit": ["exp"], "exp": 1}, CI.claims()),
        Outcome.HEADER,
        "`crit`",
    ),
    "a token of another type": (lambda: CI.token({"typ": "at+jwt"}), Outcome.HEADER, "`typ`"),
    "a signature of a stranger": (
        lambda: raw_token(HEADER, CI.claims(), STRANGER),
        Outcome.SIGNATURE,
        "signature",
    ),
    "no signature": (lambda: CI.token().rpartition(".")[0] + ".", Outcome.SIGNATURE, "signature"),
    "a changed claim": (
        changed_claim,
        Outcome.SIGNATURE,
        "signature",
    ),
    "no sub": (lambda: CI.token(sub=None), Outcome.CLAIMS, "`sub`"),
    "sub as a number": (lambda: raw_token(HEADER, {**CI.claims(), "sub": 7}), Outcome.CLAIMS, "`sub`"),
    "a gigantic sub": (lambda: CI.token(sub="x" * 2000), Outcome.CLAIMS, "`sub`"),
    "jti as a number": (lambda: raw_token(HEADER, {**CI.claims(), "jti": 7}), Outcome.CLAIMS, "`jti`"),
    "half a character as sub": (
        lambda: raw_token(HEADER, {**CI.claims(), "sub": "x\ud800"}),
        Outcome.CLAIMS,
        "surrogate",
    ),
    "half a character as jti": (
        lambda: raw_token(HEADER, {**CI.claims(), "jti": "\udfff"}),
        Outcome.CLAIMS,
        "surrogate",
    ),
    "no exp": (lambda: CI.token(exp=None), Outcome.CLAIMS, "`exp`"),
    "exp as text": (lambda: CI.token(exp=str(now() + 300)), Outcome.CLAIMS, "`exp`"),
    "exp as true": (lambda: raw_token(HEADER, {**CI.claims(), "exp": True}), Outcome.CLAIMS, "`exp`"),
    "exp below zero": (lambda: raw_token(HEADER, {**CI.claims(), "exp": -1}), Outcome.CLAIMS, "`exp`"),
    "no iat": (lambda: CI.token(iat=None), Outcome.CLAIMS, "`iat`"),
    "iat as text": (lambda: raw_token(HEADER, {**CI.claims(), "iat": "now"}), Outcome.CLAIMS, "`iat`"),
    "nbf as text": (lambda: raw_token(HEADER, {**CI.claims(), "nbf": "0"}), Outcome.CLAIMS, "`nbf`"),
    "expired": (lambda: CI.token(iat=now() - 900, nbf=None, exp=now() - 100), Outcome.TIME, "`exp`"),
    "issued in the future": (lambda: CI.token(iat=now() + 100, nbf=None), Outcome.TIME, "`iat`"),
    "not yet valid": (lambda: CI.token(nbf=now() + 200), Outcome.TIME, "`nbf`"),
    "an end before its beginning": (
        lambda: CI.token(iat=now(), exp=now() - 10),
        Outcome.TIME,
        "`exp` and `iat`",
    ),
    "a life of ten years": (lambda: CI.token(exp=now() + 10 * 365 * 86400), Outcome.TIME, "`exp` and `iat`"),
    "no aud": (lambda: CI.token(aud=None), Outcome.AUDIENCE, "`aud`"),
    "two audiences": (lambda: CI.token(aud=[CI.audience, "https://x"]), Outcome.AUDIENCE, "one text"),
    "aud as a number": (lambda: raw_token(HEADER, {**CI.claims(), "aud": 7}), Outcome.AUDIENCE, "one text"),
}

MISFITS: dict[str, tuple[Callable[[], str], Outcome, str]] = {
    "a prefix of an allowed value": (lambda: CI.token(ref="refs/heads/mai"), Outcome.RULE, "`ref`"),
    "an allowed value with more behind it": (lambda: CI.token(ref="refs/heads/main2"), Outcome.RULE, "`ref`"),
    "an allowed value with more before it": (lambda: CI.token(ref="xrefs/heads/main"), Outcome.RULE, "`ref`"),
    "another case": (lambda: CI.token(ref="refs/heads/Main"), Outcome.RULE, "`ref`"),
    "a look-alike": (lambda: CI.token(ref="refs/heads/m\u0430in"), Outcome.RULE, "\\u0430"),
    "a decomposed letter": (lambda: CI.token(ref="refs/heads/mai\u0301n"), Outcome.RULE, "\\u0301"),
    "the right text in another claim": (
        lambda: CI.token(ref=None, environment="refs/heads/main"),
        Outcome.RULE,
        "`ref`",
    ),
    "a number for a text": (lambda: CI.token(repository_id=4711), Outcome.RULE, "`repository_id`"),
    "the value in a list": (lambda: CI.token(ref=["refs/heads/main"]), Outcome.RULE, "`ref`"),
    "another audience": (lambda: CI.token(aud="https://other.example"), Outcome.AUDIENCE, "`aud`"),
    "an audience with a slash more": (lambda: CI.token(aud=f"{CI.audience}/"), Outcome.AUDIENCE, "`aud`"),
}
"""Valid tokens of builds that no rule of ``IssuerSite`` is for."""
