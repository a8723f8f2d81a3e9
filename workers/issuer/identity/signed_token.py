"""Verification of a provider's token (a JWT, RFC 7519), by the rules of RFC 8725: whatever is not expected is refused.

The order bounds the cost: length, then the header, then the provider and its key, then one signature; claims are judged only when
the signature is the provider's. The header chooses a key among those of the provider's file by its name, and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import jwt

from queueing.errors import IssuerUnavailable
from workers.issuer.identity.provider_keys import ALGORITHMS
from workers.issuer.identity.refusals import Outcome, TokenRefused, shown
from workers.issuer.identity.token_json import decode_part, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.issuer.identity.provider_keys import ProviderKey, ProviderKeys
    from workers.issuer.identity.token_json import Json

MAX_TOKEN_CHARACTERS: Final = 16 * 1024
LEEWAY_S: Final = 60.0
"""Clock skew between provider and issuer; a leeway of 0 refuses tokens of a provider whose clock is ahead (RFC 7519 4.1.4)."""

MAX_CLAIM: Final = 1024
"""Characters of ``iss``, ``sub``, ``aud`` and ``jti``; OpenID Connect Core 2 has 255 for a subject."""

REFRESH_S: Final = 10.0
"""Keys of a provider are fetched for an unknown name at most once in this time."""

_REFUSED_HEADERS: Final = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc")
"""Each would have the token choose its own key, or its own rules (RFC 7515 4.1; RFC 8725 3.10). No provider needs one."""

_TYPES: Final = frozenset({"JWT", "JOSE"})
"""``typ`` of tokens: JWT (RFC 7519 5.1), and what JWT-SVIDs may have in its place (SPIFFE JWT-SVID 2.3)."""

_LATEST: Final = 2**53
_jws: Final = jwt.PyJWS(algorithms=list(ALGORITHMS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Provider of tokens: its name here, its ``iss``, the algorithms that it is known to use, and the longest life of its tokens."""

    name: str
    issuer_url: str
    algorithms: frozenset[str]
    max_token_s: float = 86_400.0


class TokenLife(NamedTuple):
    """Times of a token by its provider's clock (Unix s): its issue, and its end with the leeway."""

    issued_s: float
    ends_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedIdentity:
    """Identity of a caller: the claims, and by whom they are made.

    ``audience``: None for a certificate. ``use_id``: 32 bytes that two uses of one token share, however its signature is encoded; None for an identity that may be
    used with any number of keys.
    """

    provider: str
    issuer_url: str
    audience: str | None
    subject: str
    claims: Mapping[str, Json]
    evidence_sha256: bytes
    use_id: bytes | None
    life: TokenLife


@dataclass(frozen=True, slots=True)
class _Header:
    algorithm: str
    kid: str


class UnknownKey(IssuerUnavailable):
    """The provider's file has no key of this name, and is not fresh: the keys are being fetched."""

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"the key that signed the token is not yet known; the keys of {provider} are being fetched",
            retry_after_s=2.0,
        )
        self.provider = provider


class TokenVerifier:
    """Verifier of tokens of the configured providers."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._by_url = {provider.issuer_url: provider for provider in providers.values()}

    def provider_of(self, token: str) -> Provider:
        """The provider that the token says it is of; nothing is verified. Raises ``TokenRefused``."""
        issuer = read_object(_parts(token)[1], "payload").get("iss")
        if not isinstance(issuer, str):
            raise TokenRefused(Outcome.CLAIMS, "claim `iss` is missing, or no text")
        provider = self._by_url.get(issuer)
        if provider is None:
            raise TokenRefused(
                Outcome.PROVIDER,
                f"claim `iss` is {shown(issuer)}: the issuer has no such provider",
                hint="The operator lists providers in [providers.NAME] of the issuer's file; `issuer_url` is compared as it is written.",
            )
        return provider

    def verify(
        self, token: str, provider: Provider, keys: ProviderKeys | None, now_s: float
    ) -> VerifiedIdentity:
        """The identity in the token.

        Raises ``TokenRefused``, or ``UnknownKey`` (retryable) where the provider's keys have to be fetched first. Costs at
        most one signature (RSA 2048: 30 us).
        """
        parts = _parts(token)
        header = _header(parts[0])
        if header.algorithm not in provider.algorithms:
            raise TokenRefused(
                Outcome.HEADER,
                f"the token's algorithm is {shown(header.algorithm)}: tokens of {provider.name} have"
                f" {', '.join(sorted(provider.algorithms))}",
            )
        key = _key(header, provider, keys, now_s)
        if not key.fits(header.algorithm):
            raise TokenRefused(
                Outcome.KEY, "the token's algorithm is not one of the key that its `kid` names"
            )
        if not _is_signed(token, parts[2], header.algorithm, key):
            raise TokenRefused(Outcome.SIGNATURE, f"the token's signature is not that of {provider.name}")
        return _identity(token, provider, read_object(parts[1], "payload"), now_s)


def _parts(token: str) -> list[str]:
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenRefused(Outcome.MALFORMED, f"the token has more than {MAX_TOKEN_CHARACTERS} characters")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenRefused(Outcome.MALFORMED, "the token is not a JWT: three parts with points between them")
    return parts


def _header(part: str) -> _Header:
    header = read_object(part, "header")
    for name in _REFUSED_HEADERS:
        if name in header:
            raise TokenRefused(Outcome.HEADER, f"the token's header has `{name}`, which no provider needs")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() not in _TYPES:
        raise TokenRefused(Outcome.HEADER, f"the token's `typ` is {shown(kind)}, not JWT")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise TokenRefused(Outcome.HEADER, "the token's header has no `alg`, or one that is no text")
    if not isinstance(kid, str) or not kid:
        raise TokenRefused(Outcome.KEY, "the token's header has no `kid`, or one that is no text")
    return _Header(algorithm, kid)


def _key(header: _Header, provider: Provider, keys: ProviderKeys | None, now_s: float) -> ProviderKey:
    if keys is None or keys.issuer_url != provider.issuer_url:
        raise UnknownKey(provider.name)
    if header.kid in keys.repeated:
        raise TokenRefused(Outcome.KEY, f"{provider.name} has two keys of the token's `kid`: none is used")
    key = keys.by_kid.get(header.kid)
    if key is None:
        if abs(now_s - keys.fetched_ms / 1000) > REFRESH_S:  # of the future: the clock was set back
            raise UnknownKey(provider.name)
        raise TokenRefused(Outcome.KEY, f"{provider.name} has no key of the token's `kid`")
    return key


def _is_signed(token: str, part: str, algorithm: str, key: ProviderKey) -> bool:
    """Whether the token's last part is the key's signature over the others.

    Not by ``PyJWS.decode``, which looks at each character of the token in Python, and parses the header once more: here both are
    read, and all of the header that matters is decided.
    """
    signature = decode_part(part, "signature")
    signed = token.rpartition(".")[0].encode()
    try:
        method = _jws.get_algorithm_by_name(algorithm)
        return bool(method.verify(signed, method.prepare_key(key.key), signature))
    except jwt.PyJWTError:
        return False


def _identity(token: str, provider: Provider, claims: dict[str, Json], now_s: float) -> VerifiedIdentity:
    if claims.get("iss") != provider.issuer_url:
        raise TokenRefused(
            Outcome.PROVIDER, f"claim `iss` is {shown(claims.get('iss'))}, not that of the provider"
        )
    subject = _text(claims, "sub")
    token_id = _text(claims, "jti") if "jti" in claims else None
    life = _times(claims, provider, now_s)
    if token_id is None:
        used = b"token\0" + token.rpartition(".")[0].encode()
    else:
        used = f"jti\0{provider.issuer_url}\0{token_id}".encode()
    return VerifiedIdentity(
        provider=provider.name,
        issuer_url=provider.issuer_url,
        audience=_audience(claims),
        subject=subject,
        claims=claims,
        evidence_sha256=hashlib.sha256(token.encode()).digest(),
        use_id=hashlib.sha256(used).digest(),
        life=life,
    )


def _times(claims: dict[str, Json], provider: Provider, now_s: float) -> TokenLife:
    """Check the token's times."""
    expires_s, issued_s = _time(claims, "exp"), _time(claims, "iat")
    if expires_s + LEEWAY_S <= now_s:
        raise TokenRefused(
            Outcome.TIME,
            f"the token ended {now_s - expires_s:.0f} s ago by its claim `exp`",
            hint="Ask the provider for a new token; compare the clocks if it is a new one.",
        )
    if issued_s - LEEWAY_S > now_s:
        raise TokenRefused(
            Outcome.TIME,
            f"the token is issued {issued_s - now_s:.0f} s in the future by its claim `iat`",
            hint="Compare the clocks of the provider and the issuer's host.",
        )
    if "nbf" in claims and (begins_s := _time(claims, "nbf")) - LEEWAY_S > now_s:
        raise TokenRefused(
            Outcome.TIME,
            f"the token is not valid for another {begins_s - now_s:.0f} s by its claim `nbf`",
            hint="Compare the clocks of the provider and the issuer's host.",
        )
    if expires_s <= issued_s:
        raise TokenRefused(Outcome.TIME, "the token ends before it is issued, by its claims `exp` and `iat`")
    if expires_s - issued_s > provider.max_token_s:
        raise TokenRefused(
            Outcome.TIME,
            f"the token lives {expires_s - issued_s:.0f} s by its claims `exp` and `iat`,"
            f" at most {provider.max_token_s:.0f} s are allowed",
            hint="Ask the provider for a token of a shorter life, or raise `max_token_s` of the provider.",
        )
    return TokenLife(issued_s, expires_s + LEEWAY_S)


def _time(claims: dict[str, Json], name: str) -> float:
    """A NumericDate (RFC 7519 2): a number, and no text, as some libraries allow."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(Outcome.CLAIMS, f"claim `{name}` is missing, or no number")
    if not 0 <= value <= _LATEST:
        raise TokenRefused(Outcome.CLAIMS, f"claim `{name}` is out of range")
    return float(value)


def _text(claims: dict[str, Json], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenRefused(Outcome.CLAIMS, f"claim `{name}` is missing, or no text")
    if len(value) > MAX_CLAIM:
        raise TokenRefused(Outcome.CLAIMS, f"claim `{name}` has more than {MAX_CLAIM} characters")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON's escapes can write half a character, which has no bytes
        raise TokenRefused(
            Outcome.CLAIMS, f"claim `{name}` has a surrogate alone, which is no character"
        ) from None
    return value


def _audience(claims: dict[str, Json]) -> str:
    """The one audience: a token for several could be used by each of them at the others."""
    value = claims.get("aud")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value:
        raise TokenRefused(
            Outcome.AUDIENCE, f"claim `aud` is {shown(claims.get('aud'))}: it must be one text"
        )
    if len(value) > MAX_CLAIM:
        raise TokenRefused(Outcome.AUDIENCE, f"claim `aud` has more than {MAX_CLAIM} characters")
    return value
