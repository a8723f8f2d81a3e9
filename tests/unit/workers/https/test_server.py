"""Connections of a server: a bounded number, each for a bounded time, whatever it sends."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from queueing.errors import ConfigError
from workers.https.server import Address, Bounds, HttpsServer
from workers.telemetry.edge_metrics import HttpsMetrics


class Transport:
    """A connection that can be ended."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        """Nothing is left to be sent."""


class Connection:
    """A connection that serves no request at the moment."""

    _task_handler = None


class Timer:
    def __init__(self, delay_s: float, call: Any) -> None:
        self.delay_s = delay_s
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose time a test moves."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay_s: float, call: Any) -> Timer:
        self.timers.append(Timer(delay_s, call))
        return self.timers[-1]


class Answers:
    """A site that is not asked."""

    async def answer(self, request: object) -> web.StreamResponse:
        raise AssertionError

    def no_http(self) -> web.StreamResponse:
        return web.Response(status=400)

    def failed(self, error: BaseException | None) -> web.StreamResponse:
        return web.Response(status=500, text=type(error).__name__)


class ServerSetup:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, connection_s: float | None) -> None:
        self.registry = CollectorRegistry()
        bounds = Bounds(connections=2, header_s=10.0, answer_s=7.0, connection_s=connection_s)
        self.server = HttpsServer(Answers(), bounds, HttpsMetrics(self.registry))
        self.loop = Loop()
        monkeypatch.setattr("workers.https.server.asyncio.get_running_loop", lambda: self.loop)
        self.connections = [Connection() for _ in range(3)]
        self.transports = [Transport() for _ in range(3)]

    def connect(self) -> None:
        for connection, transport in zip(self.connections, self.transports, strict=True):
            self.server.connection_made(connection, transport)  # type: ignore[arg-type]

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"sigmill_https_{name}")


async def test_a_connection_too_many_is_ended_and_each_other_has_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third of two is aborted at once and counted, the first two after thirty seconds."""
    setup = ServerSetup(monkeypatch, connection_s=30.0)
    setup.connect()
    assert [transport.aborted for transport in setup.transports] == [False, False, True]
    assert (setup.metric("connections_refused_total"), setup.metric("connections")) == (1, 3)
    assert [timer.delay_s for timer in setup.loop.timers] == [30.0] * 2
    for timer in setup.loop.timers:
        timer.call()
    assert all(transport.aborted for transport in setup.transports)


async def test_a_connection_that_has_ended_is_not_kept_until_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand short connections in a second are not a thousand TLS connections in memory for thirty."""
    setup = ServerSetup(monkeypatch, connection_s=30.0)
    setup.connect()
    for connection in setup.connections:
        setup.server.connection_lost(connection)  # type: ignore[arg-type]
    assert [timer.cancelled for timer in setup.loop.timers] == [True, True]
    assert setup.metric("connections") == 0


async def test_a_connection_without_a_time_lasts_as_long_as_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a relay: clients poll over one connection."""
    setup = ServerSetup(monkeypatch, connection_s=None)
    setup.connect()
    assert setup.loop.timers == []


async def test_a_client_that_does_not_read_its_answers_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many bytes have waited for it as long as an answer may."""
    setup = ServerSetup(monkeypatch, connection_s=None)
    connection: Any = setup.server()
    connection.transport = transport = setup.transports[0]
    connection.pause_writing()
    (timer,) = setup.loop.timers
    assert (timer.delay_s, transport.aborted) == (7.0, False)
    timer.call()
    assert transport.aborted


async def test_a_client_that_reads_in_time_has_the_time_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its next answer; one that has gone has none."""
    setup = ServerSetup(monkeypatch, connection_s=None)
    connection: Any = setup.server()
    connection.transport = setup.transports[0]
    connection.pause_writing()
    connection.resume_writing()
    connection.pause_writing()
    assert [timer.cancelled for timer in setup.loop.timers] == [True, False]
    connection.connection_lost(None)
    assert [timer.cancelled for timer in setup.loop.timers] == [True, True]


async def test_errors_are_answered_by_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never by aiohttp, whose answer repeats the request."""
    setup = ServerSetup(monkeypatch, connection_s=None)
    monkeypatch.undo()
    connection: Any = setup.server()
    assert connection.handle_error(None, 400, None, "bytes of a stranger").status == 400
    assert connection.handle_error(None, 500, ValueError("secret"), None).text == "ValueError"


async def test_an_address_that_cannot_be_used_is_told_with_its_setting() -> None:
    """The error has file and key."""
    bounds = Bounds(connections=1, header_s=1.0, answer_s=1.0)
    server = HttpsServer(Answers(), bounds, HttpsMetrics(CollectorRegistry()))
    address = Address(host="192.0.2.1", port=0, file="relay.toml", key="port")
    with pytest.raises(ConfigError) as refused:
        await server.listen(address, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert (refused.value.file, refused.value.key) == ("relay.toml", "port")
