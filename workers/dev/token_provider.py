"""Provider of tokens in a private stack, in place of a CI system: a key in memory, and files for what others fetch from a real one.

The issuer reads the provider's public key from the file that `sigmill issuer refresh` would write, a build its token from a file.
``python -m workers.dev.token_provider --keys DIR --clients DIR`` keeps them fresh until SIGTERM, for docker-compose.yml.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from queueing.files.durable_file import replace_durably
from workers.dev.tenants import PROJECT_CLAIM, PROVIDER, PROVIDER_URL, TENANTS, TOKEN_AUDIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOKEN_S: Final = 600
"""Life of a token: that of GitHub's is five minutes, that of GitLab's the job's."""

RENEW_S: Final = 60.0
"""Age at which a token is replaced, so that a build finds one with nine minutes at least."""

_KEY_ID: Final = "throwaway"
_COORDINATE_BYTES: Final = 32
"""Of P-256: RFC 7518, 6.2.1.2 (keys) and 3.4 (signatures)."""


class TokenProvider:
    """Provider with a new key. ``keys_dir``: that of the issuer; ``token_files``: the token of each tenant's build."""

    def __init__(self, keys_dir: Path, token_files: Mapping[str, Path]) -> None:
        self._keys_file = keys_dir / f"{PROVIDER}.json"
        self._token_files = token_files
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._due_s = 0.0

    def refresh(self) -> None:
        """Write keys and tokens where they are ``RENEW_S`` old."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + RENEW_S
        replace_durably(self._keys_file, json.dumps(self._keys(time.time())).encode(), mode=0o644)
        for tenant, file in self._token_files.items():
            replace_durably(file, self.token(tenant, time.time()).encode(), mode=0o600)

    def token(self, tenant: str, now_s: float) -> str:
        """Token of a build of the tenant (JWS, RFC 7515; ES256)."""
        claims = {
            "iss": PROVIDER_URL,
            "aud": TOKEN_AUDIENCE,
            "sub": f"project:{tenant}/app:ref:refs/heads/main",
            "iat": int(now_s),
            "exp": int(now_s) + TOKEN_S,
            "jti": secrets.token_hex(16),
            PROJECT_CLAIM: tenant,
            "ref": "refs/heads/main",
        }
        head = {"alg": "ES256", "kid": _KEY_ID, "typ": "JWT"}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        signature = b"".join(number.to_bytes(_COORDINATE_BYTES, "big") for number in (r, s))
        return f"{signed}.{_base64url(signature)}"

    def _keys(self, now_s: float) -> dict[str, Any]:
        """Content of the issuer's file of this provider's keys (`workers.issuer.identity.provider_keys`)."""
        point = self._key.public_key().public_numbers()
        x, y = (_base64url(number.to_bytes(_COORDINATE_BYTES, "big")) for number in (point.x, point.y))
        key = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": _KEY_ID, "use": "sig", "alg": "ES256"}
        return {"issuer_url": PROVIDER_URL, "fetched_ms": int(now_s * 1000), "keys": [key]}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Keep the files of docker-compose.yml's volumes fresh."""
    parser = argparse.ArgumentParser(prog="python -m workers.dev.token_provider", description=__doc__)
    parser.add_argument("--keys", type=Path, required=True, help="keys_dir of the issuer")
    parser.add_argument("--clients", type=Path, required=True, help="folder with one folder per tenant")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    files = {tenant.name: options.clients / tenant.name / "by-token" / "token" for tenant in TENANTS}
    provider = TokenProvider(options.keys, files)
    while not ended.is_set():
        provider.refresh()
        ended.wait(1.0)


if __name__ == "__main__":
    main()
