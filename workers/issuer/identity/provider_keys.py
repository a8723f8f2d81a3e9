"""Public keys of a provider, as the JWKS file has them that ``sigmill issuer refresh`` wrote.

The file is an object of ours around the keys that came: ``{"issuer_url", "fetched_ms", "keys": [JWK, …]}``. A key that cannot be
used costs nothing but itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_FILE_BYTES: Final = 512 * 1024
"""Microsoft's has 20 kB."""

MAX_KEYS: Final = 256
MAX_KID: Final = 256

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms that a provider may be given; ``none`` and the symmetric ones are not among them (RFC 8725 3.1)."""

_USES: Final = ("sig", "jwt-svid")
"""``use`` of keys that verify tokens (RFC 7517 4.2; SPIFFE JWT-SVID 6.1, in the bundle of a trust domain)."""

_CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}

_BY_CURVE: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
"""RFC 7518 3.4."""

_MEMBERS: Final = ("kty", "kid", "use", "alg", "crv", "n", "e", "x", "y")
"""Members of a public key that are texts, and of which it is made (RFC 7517 4, RFC 7518 6)."""

_LEAST_RSA_BITS: Final = 2048
"""RFC 7518 3.3."""

_MOST_RSA_BITS: Final = 8192
"""A longer key would cost milliseconds for each token."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class KeysFile(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the file of one provider. ``fetched_ms``: when the provider last gave these keys."""

    issuer_url: str
    fetched_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    keys: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=MAX_KEYS)]


_decoder: Final = msgspec.json.Decoder(KeysFile)
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """Key of a provider; ``algorithm``: the one that the provider gives for it, or '' where it gives none."""

    key: PublicKey
    algorithm: str = ""

    def fits(self, algorithm: str) -> bool:
        """Whether the key is of the kind, and the curve, that the algorithm has."""
        if self.algorithm and self.algorithm != algorithm:
            return False
        if algorithm[:2] in {"RS", "PS"}:
            return isinstance(self.key, rsa.RSAPublicKey)
        if algorithm == "EdDSA":
            return isinstance(self.key, ed25519.Ed25519PublicKey)
        return isinstance(self.key, ec.EllipticCurvePublicKey) and isinstance(
            self.key.curve, _CURVES[algorithm]
        )


@dataclass(frozen=True, slots=True)
class ProviderKeys:
    """Keys of a provider by ``kid``. ``repeated``: names that two keys have; they verify nothing."""

    issuer_url: str
    fetched_ms: int
    by_kid: Mapping[str, ProviderKey]
    repeated: frozenset[str] = frozenset()


def read_keys(raw: bytes) -> ProviderKeys:
    """Keys of a file's content. Raises ``ValueError`` where it is not such a file."""
    try:
        file = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is no file of keys: {type(error).__name__}") from None
    by_kid, repeated = usable_keys(file.keys)
    return ProviderKeys(file.issuer_url, file.fetched_ms, by_kid, repeated)


def encode_keys(file: KeysFile) -> bytes:
    """Bytes of a file of keys."""
    return _encoder.encode(file)


def usable_keys(jwks: Iterable[Mapping[str, Any]]) -> tuple[dict[str, ProviderKey], frozenset[str]]:
    """The keys that can verify tokens, by ``kid``, and the names of which there are two."""
    by_kid: dict[str, ProviderKey] = {}
    repeated: set[str] = set()
    for jwk in jwks:
        kid = jwk.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
            continue
        key = _usable(jwk)
        if key is None:
            continue
        if kid in by_kid:
            repeated.add(kid)
        by_kid[kid] = key
    return {kid: key for kid, key in by_kid.items() if kid not in repeated}, frozenset(repeated)


def bare_keys(jwks: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The keys that can verify tokens, and nothing else of them: what a provider adds is not for a file that the lane reads."""
    return tuple(
        {name: jwk[name] for name in _MEMBERS if isinstance(jwk.get(name), str)}
        for jwk in jwks
        if _usable(jwk) is not None
    )


def _usable(jwk: Mapping[str, Any]) -> ProviderKey | None:
    """The key; None for one that encrypts, is symmetric, private, of an unknown kind, too short, or damaged."""
    kty, crv, given = jwk.get("kty"), jwk.get("crv"), jwk.get("alg", "")
    if jwk.get("use", "sig") not in _USES or "d" in jwk or given not in ("", *ALGORITHMS):
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if kty == "RSA":
        algorithm = "RS256"
    elif kty == "EC" and isinstance(crv, str) and crv in _BY_CURVE:
        algorithm = _BY_CURVE[crv]
    elif kty == "OKP" and crv == "Ed25519":
        algorithm = "EdDSA"
    else:
        return None
    if len(str(jwk.get("n", ""))) > _MOST_RSA_BITS // 4:
        return None
    try:
        key = jwt.PyJWK(dict(jwk), algorithm=algorithm).key
    except Exception:  # noqa: BLE001 - a damaged key raises what each of two libraries has; it costs nothing but itself
        return None
    if isinstance(key, rsa.RSAPublicKey) and not _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS:
        return None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return None
    return ProviderKey(key, given)
