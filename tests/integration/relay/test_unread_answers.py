"""A client that reads no answer is cut: it would keep the answer in the server's memory, and its connection, for ever."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from queueing.client.delivery import relay_messages as messages
from tests.support.relay.relay_settings import settings
from tests.support.waiting import until_async
from workers.dev.trial_tls import write_authority_and_server
from workers.https.certificate import ServerCertificate, TlsFiles
from workers.https.server import Address, Bounds, HttpsServer, Site
from workers.relay import admission
from workers.relay.endpoints import Endpoints, Reply
from workers.relay.site import RelaySite
from workers.telemetry.edge_metrics import HttpsMetrics, RelayMetrics

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


class Serving:
    """A server of one site on a port of the loopback."""

    def __init__(self, port: int, tls: ssl.SSLContext, server: HttpsServer) -> None:
        self._port = port
        self._tls = tls
        self._server = server

    @classmethod
    @contextlib.asynccontextmanager
    async def started(
        cls, folder: Path, site: Site, metrics: HttpsMetrics, *, answer_s: float
    ) -> AsyncIterator[Serving]:
        """Within the block it serves."""
        ca_file = write_authority_and_server(folder, host="127.0.0.1")
        files = TlsFiles(
            certificate=folder / "server.pem",
            private_key=folder / "server.key",
            file="relay.toml",
            certificate_key="",
            client_ca_key="",
        )
        server = HttpsServer(site, Bounds(connections=2, header_s=60.0, answer_s=answer_s), metrics)
        port = await server.listen(
            Address(host="127.0.0.1", port=0, file="relay.toml", key="port"),
            ServerCertificate(files, metrics).context,
        )
        try:
            yield cls(port, ssl.create_default_context(cafile=str(ca_file)), server)
        finally:
            await server.close(0.1)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._server.connections)

    async def ask(self, path: str, *, times: int = 1) -> ssl.SSLSocket:
        """A connection with so many requests, of which nothing is read yet."""

        def asked() -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", self._port))
            connection = self._tls.wrap_socket(plain, server_hostname="127.0.0.1")
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode() * times)
            return connection

        return await asyncio.to_thread(asked)


async def test_a_client_that_reads_nothing_is_cut(tmp_path: Path) -> None:
    """After the time for an answer."""
    site, metrics = LongAnswers(), HttpsMetrics(CollectorRegistry())
    async with Serving.started(tmp_path, site, metrics, answer_s=0.5) as serving:
        with await serving.ask("/", times=3):
            await until_async(lambda: site.asked > 0, "the client has come")
            await until_async(lambda: serving.connections == 0, "the client is cut")


class LongEndpoints:
    """Operations of a relay of which one has a long answer, for a client of the tenant ``acme``."""

    paths = frozenset({messages.TIME})

    def method(self, path: str) -> str:
        del path
        return "GET"

    async def get(self, path: str, tenant: str) -> Reply:
        del path
        return Reply(bytes(ANSWER_BYTES), tenant=tenant)


async def test_answers_that_are_not_read_have_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client of a job with a large result could ask for it on thousands of connections. What is read, or cut, is no more in hand."""
    monkeypatch.setattr(admission, "MOST_ANSWER_BYTES_IN_HAND", ANSWER_BYTES + 1)
    made, metrics = settings(acme=None), RelayMetrics(CollectorRegistry())
    bounded = admission.Admission(made)
    site = RelaySite(cast("Endpoints", LongEndpoints()), made.limits, admission=bounded, metrics=metrics)
    async with Serving.started(tmp_path, site, metrics, answer_s=60.0) as serving:
        with await serving.ask(f"{messages.TIME}?tenant=acme"):
            await until_async(lambda: bounded.answer_bytes > 0, "an answer is in hand")
            with await serving.ask(f"{messages.TIME}?tenant=acme") as second:
                refusal = await asyncio.to_thread(second.recv, 4096)
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: " in refusal
        await until_async(lambda: bounded.answer_bytes == 0, "its client has gone")
        with await serving.ask(f"{messages.TIME}?tenant=acme") as third:
            received = 0
            while received < ANSWER_BYTES:
                received += len(await asyncio.to_thread(third.recv, 1 << 20))
        await until_async(lambda: bounded.answer_bytes == 0, "it was read")
