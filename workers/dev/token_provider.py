"""Provider of tokens in a private stack, in place of a CI system: a key in memory, and files for what builds get from a real one.

In `sigmill dev` the issuer reads the public key from the file that `sigmill issuer refresh` would write. ``python -m
workers.dev.token_provider --clients DIR --tls DIR`` keeps builds' tokens fresh until SIGTERM, and serves its keys over HTTPS
for docker-compose.yml, whose refresh fetches them.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import signal
import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from queueing.files.durable_file import replace_durably
from workers.dev.tenants import PROJECT_CLAIM, PROVIDER, PROVIDER_URL, TENANTS, TOKEN_AUDIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOKEN_S: Final = 600
"""Life of a token: that of GitHub's is five minutes, that of GitLab's the job's."""

RENEW_S: Final = 60.0
"""Age at which a token is replaced, so that a build finds one with nine minutes at least."""

KEYS_PATH: Final = "/keys"
"""Path of the keys (JWK Set, RFC 7517) where they are served."""

_SILENCE_S: Final = 10.0
"""A connection that says nothing for so long is closed."""

_COORDINATE_BYTES: Final = 32
"""Of P-256: RFC 7518, 6.2.1.2 (keys) and 3.4 (signatures)."""


class TokenProvider:
    """Provider with a new key of a new name.

    ``keys_dir``: that of the issuer; None where its keys are served. ``token_files``: the token of each tenant's build.
    """

    def __init__(self, keys_dir: Path | None, token_files: Mapping[str, Path]) -> None:
        self._keys_file = None if keys_dir is None else keys_dir / f"{PROVIDER}.json"
        self._token_files = token_files
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = f"throwaway-{secrets.token_hex(4)}"
        self._due_s = 0.0

    def refresh(self) -> None:
        """Write keys and tokens where they are ``RENEW_S`` old."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + RENEW_S
        if self._keys_file is not None:
            keys = {"issuer_url": PROVIDER_URL, "fetched_ms": int(time.time() * 1000), **self.jwks()}
            replace_durably(self._keys_file, json.dumps(keys).encode(), mode=0o644)
        for tenant, file in self._token_files.items():
            replace_durably(file, self.token(tenant, time.time()).encode(), mode=0o600)

    def token(self, tenant: str, now_s: float) -> str:
        """Token of a build of the tenant."""
        return self.signed(json.dumps(self.claims(tenant, now_s)).encode())

    def claims(self, tenant: str, now_s: float) -> dict[str, Any]:
        """Claims of such a token, each time with another ``jti``."""
        return {
            "iss": PROVIDER_URL,
            "aud": TOKEN_AUDIENCE,
            "sub": f"project:{tenant}/app:ref:refs/heads/main",
            "iat": int(now_s),
            "exp": int(now_s) + TOKEN_S,
            "jti": secrets.token_hex(16),
            PROJECT_CLAIM: tenant,
            "ref": "refs/heads/main",
        }

    def signed(self, payload: bytes, **headers: str) -> str:
        """Token of this payload, whatever it is, with further ``headers`` (JWS, RFC 7515; ES256)."""
        head = {"alg": "ES256", "kid": self._key_id, "typ": "JWT", **headers}
        signed = f"{_base64url(json.dumps(head).encode())}.{_base64url(payload)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        signature = b"".join(number.to_bytes(_COORDINATE_BYTES, "big") for number in (r, s))
        return f"{signed}.{_base64url(signature)}"

    def jwks(self) -> dict[str, Any]:
        """The public key as a JWK Set (RFC 7517)."""
        point = self._key.public_key().public_numbers()
        x, y = (_base64url(number.to_bytes(_COORDINATE_BYTES, "big")) for number in (point.x, point.y))
        key = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self._key_id, "use": "sig", "alg": "ES256"}
        return {"keys": [key]}

    @contextmanager
    def served(self, address: tuple[str, int], tls_dir: Path) -> Iterator[None]:
        """Serve the keys at ``KEYS_PATH`` over HTTPS, with server.pem and server.key of ``tls_dir``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls_dir / "server.pem", tls_dir / "server.key")
        body = json.dumps(self.jwks()).encode()

        class Answers(BaseHTTPRequestHandler):
            timeout = _SILENCE_S

            def setup(self) -> None:
                self.request.settimeout(self.timeout)
                self.request = context.wrap_socket(
                    self.request, server_side=True
                )  # in the connection's own thread
                super().setup()

            def do_GET(self) -> None:
                self.send_response(200 if self.path == KEYS_PATH else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing: a caller that is no client of TLS ends its connection."""

        with Server(address, Answers) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Keep the tokens of docker-compose.yml's builds fresh, and serve the keys."""
    parser = argparse.ArgumentParser(prog="python -m workers.dev.token_provider", description=__doc__)
    parser.add_argument("--tls", type=Path, required=True, help="folder with server.pem and server.key")
    parser.add_argument("--port", type=int, default=8444)
    parser.add_argument("--clients", type=Path, required=True, help="folder with one folder per tenant")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    files = {tenant.name: options.clients / tenant.name / "by-token" / "token" for tenant in TENANTS}
    provider = TokenProvider(None, files)
    with provider.served(("", options.port), options.tls):
        while not ended.is_set():
            provider.refresh()
            ended.wait(1.0)


if __name__ == "__main__":
    main()
