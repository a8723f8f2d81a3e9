"""Issuer of grants on the loopback that believes every token: for tests of those who use grants."""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from queueing.client.config import ClientConfig
from queueing.client.identity.settings import IdentitySettings, IssuerSettings
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.grants.grant import Grant, seal_grant
from queueing.protocol.grants.grant_request import (
    PATH,
    GrantDenied,
    GrantError,
    GrantIssued,
    encode_json,
    read_request,
)
from queueing.unix_time import unix_ms
from workers.dev.tenants import AUDIENCE


@dataclass(slots=True)
class GrantServer:
    """The issuer ``ci``. ``denies``: the next answers, by code; ``life_s``, ``most``: of each grant."""

    life_s: float = 600.0
    most: int = 100
    key: ClientKey = field(default_factory=ClientKey.generate)
    denies: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    @property
    def block(self) -> str:
        """Its table for a tenant's file."""
        public = base64.b64encode(self.key.public_spki).decode()
        return (
            f'\n[issuers.ci]\npublic_key = "{public}"\nexpires = 2099-01-01T00:00:00Z\nmax_digests = 5000\n'
        )

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_port}"

    def client_config(self, config: ClientConfig, token: Path) -> ClientConfig:
        """The client.toml of a build in place of this client's: a token file, which is written, and the issuer's address."""
        token.write_text("head.claims.signature\n")
        return msgspec.structs.replace(
            config,
            client=None,
            private_key_file=None,
            identity=IdentitySettings(platform="file", file=str(token)),
            issuer=IssuerSettings(url=self.url),
        )

    def __enter__(self) -> Self:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = (200, issuer.issued(body)) if self.path == PATH else (404, b"")
                if issuer.denies:
                    error = GrantError(code=issuer.denies.pop(0), message="as the test wants it")
                    status, answer = 503, encode_json(GrantDenied(error=error))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def issued(self, body: bytes) -> bytes:
        """Answer to a request."""
        request = read_request(body)
        request.check_proof(AUDIENCE)
        self.tokens.append(request.token)
        now_ms = unix_ms()
        grant = Grant(
            audience=AUDIENCE,
            tenant=request.tenant,
            issuer="ci",
            grant_id=os.urandom(16),
            subject="repo:acme/app",
            evidence_sha256=request.evidence_sha256,
            client_public_key=request.public_key,
            keys=tuple(sorted(request.keys)) or ("release",),
            algorithms=("ECDSA_SHA_256",),
            max_digests=self.most,
            not_before_ms=now_ms,
            expires_ms=now_ms + int(self.life_s * 1000),
        )
        return encode_json(GrantIssued(grant=seal_grant(grant, self.key), expires_ms=grant.expires_ms))
