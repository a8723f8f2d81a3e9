"""A time-stamp authority (RFC 3161): `openssl ts` behind an HTTP server of the test's own."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

_SETTINGS = """\
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
ess_cert_id_alg = {reference}
"""


class TimeStampAuthority:
    """Answers POST requests within the block; ``certificate`` is its own, self-signed, in PEM.

    ``reference``: hash of its certificate in tokens. ``tls``: of its server, for HTTPS.
    """

    def __init__(self, folder: Path, *, reference: str = "sha256", tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.certificate = folder / "tsa.pem"
        self._settings = folder / "tsa.cnf"
        folder.mkdir(parents=True, exist_ok=True)
        self._settings.write_text(_SETTINGS.format(folder=folder, reference=reference))
        (folder / "serial").write_text("01\n")
        extensions = (
            "-addext",
            "extendedKeyUsage = critical, timeStamping",
            "-addext",
            "keyUsage = digitalSignature",
        )
        made = (
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=TSA",
            *extensions,
        )
        subprocess.run(
            [*made, "-keyout", str(folder / "tsa.key"), "-out", str(self.certificate)],
            check=True,
            capture_output=True,
        )

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.server_port}/"

    def answer(self, query: bytes) -> bytes:
        """The answer to a request, without HTTP."""
        command = ["openssl", "ts", "-reply", "-config", str(self._settings), "-queryfile", "/dev/stdin"]
        return subprocess.run(command, input=query, capture_output=True, check=True).stdout

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Answer one request."""
                query = self.rfile.read(int(self.headers["Content-Length"]))
                reply = authority.answer(query)
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                """Nothing: pytest shows what matters."""

        return Handler
