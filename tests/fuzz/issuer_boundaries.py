"""Boundaries of the issuer: tokens, keys of providers, certificates, and frames of its front; ``boundaries`` has them in its list."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from queueing.errors import GrantMalformed
from queueing.protocol.grants.grant_request import GrantRequest, encode_json, read_request, tenant_of
from workers.issuer.frames import Granted, Refused, RequestGrant, decode_answer, encode_frame, read_requests
from workers.issuer.identity.certificates import CertificateVerifier
from workers.issuer.identity.claims import AmbiguousClaim, find_claim
from workers.issuer.identity.provider_keys import ProviderKeys, read_keys
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.signed_token import Provider, TokenVerifier, UnknownKey
from workers.issuer.identity.token_json import parse_object

URL: Final = "https://token.example"
CLAIMS: Final = json.dumps(
    {"iss": URL, "sub": "repo:a", "aud": "x", "iat": 1, "exp": 2, "a": {"b": [1, 2.5, None, True]}}
).encode()
_PROVIDER: Final = Provider(name="ci", issuer_url=URL, algorithms=frozenset({"RS256"}))
_VERIFIER: Final = TokenVerifier({"ci": _PROVIDER})
_KEYS: Final = ProviderKeys(URL, 0, {})


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_HEAD: Final = _part(b'{"alg": "RS256", "kid": "k"}')


def _token(data: bytes) -> None:
    """No bytes are a token of a provider without keys; each is refused in one of two ways."""
    with suppress(TokenRefused, UnknownKey):
        token = data.decode("latin-1")
        _VERIFIER.verify(token, _VERIFIER.provider_of(token), _KEYS, 1000.0)
        raise AssertionError("a token without a key was believed")


def _grant_request(data: bytes) -> None:
    """The tenant of a request, read alone, is that of the request."""
    tenant = tenant_of(data)
    with suppress(GrantMalformed):
        assert read_request(data).tenant == tenant


def _claims(data: bytes) -> None:
    with suppress(TokenRefused, AmbiguousClaim):
        find_claim(parse_object(data, "payload"), "a/b")


def _provider_keys(data: bytes) -> None:
    with suppress(ValueError):
        assert read_keys(data).fetched_ms >= 0


def _certificate(data: bytes) -> None:
    with suppress(TokenRefused):
        CertificateVerifier({}).verify(data, 1000.0)
        raise AssertionError("a certificate without an authority was believed")


def _front_request(data: bytes) -> None:
    with suppress(ValueError, msgspec.MsgspecError):
        for asked in read_requests(io.BytesIO(data)):
            assert asked.id >= 0


def _issuer_answer(data: bytes) -> None:
    with suppress(ValueError, msgspec.MsgspecError):
        decode_answer(data)


ISSUER_BOUNDARIES: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "issuer-answer": (
        _issuer_answer,
        (
            encode_frame(Granted(1, b"grant", 7, "ci"))[4:],
            encode_frame(Refused(1, "identity.refused", "no", "hint", Outcome.RULE, "ci", 2.0))[4:],
        ),
    ),
    "issuer-certificate": (_certificate, (b"\x30\x03\x02\x01\x00",)),
    "issuer-claims": (_claims, (CLAIMS,)),
    "issuer-grant-request": (
        _grant_request,
        (
            encode_json(
                GrantRequest(
                    token="t", public_key=bytes(32), proof=bytes(64), tenant="acme", keys=("release",)
                )
            ),
        ),
    ),
    "issuer-keys": (
        _provider_keys,
        (
            b'{"issuer_url": "https://a", "fetched_ms": 1, "keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "k"}]}',
        ),
    ),
    "issuer-request": (_front_request, (encode_frame(RequestGrant(1, b"{}", b"\x30\x00")),)),
    "issuer-token": (
        _token,
        (f"{_HEAD}.{_part(CLAIMS)}.{_part(bytes(256))}".encode(),),
    ),
}
