"""A provider of tokens on this machine: a real HTTPS server with its configuration and keys, and tokens as a CI has them."""

from __future__ import annotations

import json
import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_ALGORITHMS: Final[dict[str, Any]] = jwt.algorithms.get_default_algorithms()


def jwk(key: PrivateKey, kid: str, algorithm: str = "RS256", **more: Any) -> dict[str, Any]:
    """The public half of a key, as a provider shows it."""
    shown: dict[str, Any] = _ALGORITHMS[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {key: value for key, value in shown.items() if key != "key_ops"} | {
        "kid": kid,
        "use": "sig",
        "alg": algorithm,
        **more,
    }


class TokenProvider:
    """Provider with its keys and the claims that its tokens have."""

    def __init__(self, issuer_url: str, audience: str) -> None:
        self.issuer_url = issuer_url
        self.audience = audience
        self.key = rsa.generate_private_key(65537, 2048)
        self.kid = "first"
        self.keys = [jwk(self.key, self.kid)]
        self.asked: list[str] = []
        self._number = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims as those of GitHub; a change to None leaves the claim out."""
        now = int(time.time())
        self._number += 1
        claims = {
            "iss": self.issuer_url,
            "aud": self.audience,
            "sub": "repo:acme/app:ref:refs/heads/main",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": f"token-{self._number}",
            "repository": "acme/app",
            "repository_id": "4711",
            "ref": "refs/heads/main",
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """A signed token."""
        return jwt.encode(
            self.claims(**changes), self.key, algorithm="RS256", headers={"kid": self.kid, **(headers or {})}
        )

    @contextmanager
    def served(self, folder: Path) -> Iterator[None]:
        """Serve configuration and keys at ``issuer_url``, with server.pem and server.key in ``folder``; port and host are its."""
        provider = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                body = json.dumps(provider.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        port = int(self.issuer_url.rpartition(":")[2])
        server = ThreadingHTTPServer(("127.0.0.1", port), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, path: str) -> dict[str, Any]:
        """The document at this path."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.issuer_url, "jwks_uri": f"{self.issuer_url}/keys"}
        return {"keys": self.keys}
