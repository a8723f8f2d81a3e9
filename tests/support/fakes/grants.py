"""Issuers, grants and envelopes under them, with fixed keys."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.grants.grant import Grant, client_of, seal_grant


class Seed:
    """The Ed25519 key of a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
        self.raw = self._key.public_key().public_bytes_raw()
        spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.line = base64.b64encode(spki).decode()

    def __repr__(self) -> str:
        """The same text in each process of a test run: names of cases contain it."""
        return f"Seed({self._seed})"

    def sign_envelope(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


ISSUER = Seed(101)
EPHEMERAL = Seed(102)
NOW_MS = 1_900_000_000_000
MINUTE_MS = 60_000
GRANT_ID = bytes(range(16))


def issuer_text(name: str = "ci", *, more: str = "") -> str:
    """Table of an issuer."""
    return f'\n[issuers.{name}]\npublic_key = "{ISSUER.line}"\nexpires = 2099-01-01T00:00:00Z\n{more}\n'


def grant(**changes: Any) -> Grant:
    """A good grant of the issuer ``ci`` for the key ``release`` of acme."""
    return Grant(
        **{
            "audience": "test",
            "tenant": "acme",
            "issuer": "ci",
            "grant_id": GRANT_ID,
            "subject": "repo:acme/app",
            "evidence_sha256": b"e" * 32,
            "client_public_key": EPHEMERAL.raw,
            "keys": ("release",),
            "algorithms": ("ECDSA_SHA_256",),
            "max_digests": 100,
            "not_before_ms": NOW_MS - MINUTE_MS,
            "expires_ms": NOW_MS + 10 * MINUTE_MS,
            **changes,
        }
    )


def sealed_grant(signer: Seed = ISSUER, **changes: Any) -> bytes:
    """The same as it travels."""
    return seal_grant(grant(**changes), signer)


def sealed_under(grant_bytes: bytes | None = None, signer: Seed = EPHEMERAL, **changes: Any) -> bytes:
    """An envelope of two digests under a grant."""
    fields = {
        "audience": "test",
        "tenant": "acme",
        "client": client_of("ci", GRANT_ID),
        "key": "release",
        "key_version": 0,
        "algorithm": "ECDSA_SHA_256",
        "issued_at_ms": NOW_MS,
        "expires_at_ms": NOW_MS + 5 * MINUTE_MS,
        "idempotency_key": bytes(16),
        "grant": sealed_grant() if grant_bytes is None else grant_bytes,
        "digests": (bytes(32), b"\x01" * 32),
    }
    return seal(Envelope(**{**fields, **changes}), signer)
