"""A key of the agent's token, as a plugin needs it: its kind, public key, certificates, and signatures of digests."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from queueing.agent.cryptoki import Attribute, Mechanism, ObjectClass
from queueing.agent.plugins.requests import RequestInvalid, shown
from queueing.agent.token_client import DIGEST_INFO, TokenClient, pss_parameters

_SPEC: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?(?:/[0-9]{1,9})?\Z")
"""``KEY`` or ``KEY/VERSION``; the pattern of names of ``queueing.protocol.names``, which imports msgspec."""

_MOST_KEYS: Final = 50
_MOST_CERTIFICATES: Final = 10

DIGEST_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Lengths of digests, by hashlib name."""


class Kind(NamedTuple):
    """Kind of a key. ``hash_name`` of an EC key is the only hash that Sigmill signs with it; of RSA keys it is notation's."""

    name: str
    bits: int
    hash_name: str

    @property
    def is_rsa(self) -> bool:
        """Whether it is an RSA key."""
        return self.name == "RSA"


_CURVES: Final = {
    # DER of the curve's OID (RFC 5480, 2.1.1.1)
    bytes.fromhex("06082a8648ce3d030107"): Kind("EC", 256, "sha256"),
    bytes.fromhex("06052b81040022"): Kind("EC", 384, "sha384"),
    bytes.fromhex("06052b81040023"): Kind("EC", 521, "sha512"),
}
_RSA_HASHES: Final = {2048: "sha256", 3072: "sha384", 4096: "sha512"}


class PluginKey:
    """A private key of the token; found by ``KEY``, its newest active version, or by ``KEY/VERSION``."""

    def __init__(self, token: TokenClient, name: str) -> None:
        """Find the key; raises ``RequestInvalid`` for one that is not there, and ``TokenRefused``."""
        if not _SPEC.match(name):
            raise RequestInvalid(f"`{shown(name)}` is no name of a key: KEY or KEY/VERSION")
        self.name = name
        self._token = token
        found = token.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: name.encode()})
        if not found:
            raise RequestInvalid(f"the agent shows no active key `{name}`; it shows: {self._shown_keys()}")
        self._handle = found[0]
        self._ident, modulus, curve, self.spki = token.values(
            self._handle,
            Attribute.ID,
            Attribute.MODULUS,
            Attribute.EC_PARAMS,
            Attribute.PUBLIC_KEY_INFO,
        )
        self.kind = _kind(modulus, curve)

    def certificates(self) -> list[bytes]:
        """Certificates in DER, the key's own first, then its issuers'; empty where the token has none."""
        label = self._ident.decode("utf-8", "replace")
        templates: list[dict[Attribute, int | bytes]] = [{Attribute.ID: self._ident}]
        templates += [{Attribute.LABEL: f"{label} issuer {n}".encode()} for n in range(1, _MOST_CERTIFICATES)]
        found = []
        for template in templates:
            handles = self._token.find({Attribute.CLASS: ObjectClass.CERTIFICATE, **template})
            if not handles:
                break
            found += self._token.values(handles[0], Attribute.VALUE)
        return found

    def pkcs1(self, hash_name: str, digest: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 signature of a digest; raises ``TokenRefused``."""
        return self._token.sign(self._handle, Mechanism.RSA_PKCS, DIGEST_INFO[hash_name] + digest)

    def pss(self, hash_name: str, digest: bytes) -> bytes:
        """RSASSA-PSS signature of a digest, with MGF1 and a salt of the same hash; raises ``TokenRefused``."""
        return self._token.sign(self._handle, Mechanism.RSA_PKCS_PSS, digest, pss_parameters(hash_name))

    def ecdsa(self, digest: bytes) -> bytes:
        """ECDSA signature of a digest, r || s; raises ``TokenRefused``."""
        return self._token.sign(self._handle, Mechanism.ECDSA, digest)

    def _shown_keys(self) -> str:
        handles = self._token.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY}, most=_MOST_KEYS)
        labels = [self._token.values(handle, Attribute.LABEL)[0] for handle in handles]
        return ", ".join(label.decode("utf-8", "replace") for label in labels) or "none"


def _kind(modulus: bytes, curve: bytes) -> Kind:
    if modulus:
        bits = 8 * len(modulus)
        return Kind("RSA", bits, _RSA_HASHES.get(bits, "sha256"))
    kind = _CURVES.get(curve)
    if kind is None:
        raise RequestInvalid("the key is neither RSA nor of P-256, P-384 or P-521")
    return kind


def ecdsa_der(raw: bytes) -> bytes:
    """R || s as an Ecdsa-Sig-Value in DER (RFC 3279, 2.2.3)."""
    half = len(raw) // 2
    content = _integer(raw[:half]) + _integer(raw[half:])
    head = bytes((len(content),)) if len(content) < 0x80 else bytes((0x81, len(content)))
    return b"\x30" + head + content


def _integer(raw: bytes) -> bytes:
    number = int.from_bytes(raw, "big")
    content = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes((0x02, len(content))) + content
