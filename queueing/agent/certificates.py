"""Certificates that a build host brings along for keys whose key directory entry has none, or another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.errors import ConfigError
from queueing.protocol.certificates import UNREADABLE, read_certificate, read_certificates

MAX_CHAIN: Final = 10
"""Certificates of one file; OpenSSL's verify depth is 100, and no code signing chain has more than four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateChain:
    """Certificates in DER, leaf first; ``spki`` is the leaf's public key."""

    spki: bytes
    certificates: tuple[bytes, ...]

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read PEM, leaf first, or one certificate in DER; raises ``ConfigError``."""
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise _unusable(path, f"cannot be read: {error.strerror}") from None
        try:
            found = _certificates(raw)
            spki = found[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except UNREADABLE:
            raise _unusable(path, "is no certificate, or one that cannot be read") from None
        if len(found) > MAX_CHAIN:
            raise _unusable(path, f"has {len(found)} certificates; at most {MAX_CHAIN} are used")
        return cls(spki=spki, certificates=tuple(each.public_bytes(Encoding.DER) for each in found))


def _certificates(raw: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" in raw:
        return read_certificates(raw)
    return [read_certificate(raw)]


def _unusable(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        str(path),
        "",
        problem,
        "Name a PEM file with the key's certificate first, then those of its issuers.",
    )


Chains = Mapping[str, CertificateChain]
"""Chains by the name of the key."""
