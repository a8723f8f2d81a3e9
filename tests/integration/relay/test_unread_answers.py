"""A client that reads no answer is cut: it would keep the answer in the server's memory, and its connection, for ever."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry

from tests.support.waiting import until_async
from workers.dev.trial_tls import write_authority_and_server
from workers.https.certificate import ServerCertificate, TlsFiles
from workers.https.server import Address, Bounds, HttpsServer
from workers.telemetry.edge_metrics import HttpsMetrics

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_BYTES = 8 * 1024 * 1024
"""More than the kernel keeps for a connection."""


class LongAnswers:
    """A site whose answers are long; ``asked``: how many it has made."""

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self, _request: object) -> web.StreamResponse:
        self.asked += 1
        return web.Response(body=bytes(ANSWER_BYTES))

    def no_http(self) -> web.StreamResponse:
        raise AssertionError

    def failed(self, error: BaseException | None) -> web.StreamResponse:
        raise AssertionError(error)


async def test_a_client_that_reads_nothing_is_cut(tmp_path: Path) -> None:
    """After the time for an answer."""
    ca_file = write_authority_and_server(tmp_path, host="127.0.0.1")
    registry = CollectorRegistry()
    metrics = HttpsMetrics(registry)
    certificate = ServerCertificate(
        TlsFiles(
            certificate=tmp_path / "server.pem",
            private_key=tmp_path / "server.key",
            file="relay.toml",
            certificate_key="",
            client_ca_key="",
        ),
        metrics,
    )
    site = LongAnswers()
    server = HttpsServer(site, Bounds(connections=2, header_s=60.0, answer_s=0.5), metrics)
    port = await server.listen(
        Address(host="127.0.0.1", port=0, file="relay.toml", key="port"), certificate.context
    )
    tls = ssl.create_default_context(cafile=str(ca_file))

    def connections() -> float | None:
        return registry.get_sample_value("sigmill_https_connections")

    def ask() -> ssl.SSLSocket:
        connection = tls.wrap_socket(
            socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1"
        )
        connection.sendall(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n" * 3)
        return connection

    try:
        with await asyncio.to_thread(ask):
            await until_async(lambda: site.asked > 0, "the client has come")
            await until_async(lambda: connections() == 0, "the client is cut")
    finally:
        await server.close(0.1)
