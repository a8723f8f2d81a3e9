"""Server of metrics and probes on its own socket: scrapers, and connections of other programs."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import os
import resource
import signal
import socket
import struct
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from queueing.config.addresses import with_port
from queueing.errors import ConfigError
from tests.support.rig.rig import MakeRig, WorkerProcess
from tests.support.sigmill_cli import sigmill
from tests.support.waiting import until
from workers.config.settings import MetricsSettings
from workers.doctor.host import check_port
from workers.monitoring.http import get
from workers.telemetry import http_server
from workers.telemetry.http_pages import CPU_BURST_S, CpuAllowance, Pages, ThreadClock
from workers.telemetry.http_server import CPU_PAUSE_S, MOST_CONNECTIONS, MetricsServer

OutcomeCounts = Callable[[str], float]


@dataclass
class Condition:
    alive: bool = True
    ready: bool = True


@contextlib.contextmanager
def serving(
    host: str = "127.0.0.1",
    port: int = 0,
    registry: CollectorRegistry | None = None,
    cpu: CpuAllowance | None = None,
) -> Iterator[tuple[MetricsServer, OutcomeCounts]]:
    registry = registry or CollectorRegistry()
    counter = Counter("sigmill_http_connections", "By outcome.", ["outcome"], registry=registry)
    pages = Pages(registry, Condition(), cpu=cpu)
    server = MetricsServer(MetricsSettings(host=host, port=port), pages, connections=counter)

    def count(outcome: str) -> float:
        return registry.get_sample_value("sigmill_http_connections_total", {"outcome": outcome}) or 0.0

    try:
        yield server, count
    finally:
        server.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def answer_to(port: int, raw: bytes) -> bytes:
    """Everything that the server sends on a connection until it closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as client:
        client.sendall(raw)
        got = b""
        with contextlib.suppress(ConnectionResetError):  # it closed with something unread
            while part := client.recv(65536):
                got += part
        return got


def silent_connections(port: int, number: int) -> list[socket.socket]:
    """Connections that say nothing, or half a request."""
    held = []
    for i in range(number):
        client = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        if i % 2:
            with contextlib.suppress(OSError):  # replaced already
                client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        held.append(client)
    return held


def test_a_port_that_is_taken_is_an_error_with_its_remedy() -> None:
    """The error says what may use the port, which command shows it, and what else a second worker needs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match="another process of this host uses the port") as refused,
            serving(port=port),
        ):
            pass
    assert refused.value.key == "port"
    assert f"sport = :{port}" in refused.value.remedy
    assert "state_dir of its own" in refused.value.remedy


def test_an_address_of_another_host_is_an_error_of_the_host() -> None:
    """No host has 192.0.2.1 (RFC 5737)."""
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1") as refused, serving("192.0.2.1"):
        pass
    assert refused.value.key == "host"


@pytest.mark.parametrize(
    "host, asked", [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("127.0.0.1", ["127.0.0.1"])]
)
def test_it_serves_at_addresses_of_either_version(host: str, asked: list[str]) -> None:
    """All addresses of IPv6 are all of IPv4, too; `doctor` finds it there."""
    with serving(host) as (server, _):
        for address in asked:
            assert get(f"http://{with_port(address, server.port)}/healthz") == b"ok\n"
        assert check_port(MetricsSettings(host=host, port=server.port)).text == "used by another program"
    assert check_port(MetricsSettings(host=host, port=server.port)).text == "free"


def test_scrapers_get_what_they_ask_for() -> None:
    """Text, OpenMetrics, gzip, selected names, and the head alone."""
    registry = CollectorRegistry()
    Gauge("sigmill_one", "One.", registry=registry).set(1)
    Gauge("sigmill_two", "Two.", registry=registry).set(2)
    with serving(registry=registry) as (server, count):
        plain = ask(server.port, "/metrics")
        assert plain.status == 200
        text = plain.read()
        assert b"sigmill_one 1.0\n" in text
        openmetrics = ask(server.port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert openmetrics.read().endswith(b"# EOF\n")
        packed = ask(server.port, "/metrics", **{"Accept-Encoding": "gzip"})
        assert b"sigmill_one 1.0\n" in gzip.decompress(packed.read())
        assert b"sigmill_one" not in ask(server.port, "/metrics?name%5B%5D=sigmill_two").read()
        head = ask(server.port, "/metrics", "HEAD")
        assert (head.status, head.read()) == (200, b"")
        assert int(head.headers["Content-Length"]) >= len(text)
        assert ask(server.port, "/metrics", "POST").status == 405
        assert ask(server.port, "/elsewhere").status == 404
        until(lambda: count("answered") == 7, "all are counted")


def test_a_metric_that_cannot_be_read_costs_one_answer() -> None:
    """/metrics is 500, and the probes are answered."""
    registry = CollectorRegistry()
    Gauge("sigmill_broken", "Cannot be read.", registry=registry).set_function(lambda: 1 / 0)
    with serving(registry=registry) as (server, _):
        assert ask(server.port, "/metrics").status == 500
        assert ask(server.port, "/healthz").status == 200


@pytest.mark.parametrize(
    "rubbish, status",
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"400"),
        (bytes(50), b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400"),
        (b"A" * 70_000, b"431"),
    ],
)
def test_rubbish_is_refused_and_counted_and_writes_nothing(
    rubbish: bytes, status: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """The standard library's server printed a line that is no JSON for each."""
    with serving() as (server, count):
        got = answer_to(server.port, rubbish)
        assert not got or got.split()[1] == status  # a reset may overtake the answer to what was not read
        until(lambda: count("refused") == 1, "the connection is counted")
        assert ask(server.port, "/healthz").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_peer_that_resets_the_connection_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A reset after half a request, as of a load balancer's health check, is counted and not logged."""
    with serving() as (server, count):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=5.0)
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: count("left") == 1, "the connection is counted")
        assert ask(server.port, "/healthz").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_request_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is for the whole request: one that is half sent is closed and counted."""
    monkeypatch.setattr(http_server, "REQUEST_S", 0.2)
    with serving() as (server, count):
        assert answer_to(server.port, b"GET /metrics HTTP/1.1\r\nX: ") == b""
        until(lambda: count("timed_out") == 1, "the connection is counted")


def test_an_answer_that_its_client_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is counted as timed out, and the next request is answered."""
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.2)
    registry = CollectorRegistry()
    long = Gauge("sigmill_long", "More than a socket's buffers take.", ["label"], registry=registry)
    for i in range(20_000):
        long.labels(f"{i:0500}").set(1)
    with serving(registry=registry) as (server, count), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(lambda: count("timed_out") == 1, "the connection is ended")
        assert ask(server.port, "/healthz").status == 200


def test_silent_connections_cost_a_bounded_number_of_descriptors_and_no_thread() -> None:
    """The oldest is closed for the newest; a request among 300 of them is answered."""
    with serving() as (server, count):
        before, threads = len([*Path("/proc/self/fd").iterdir()]), threading.active_count()
        held = silent_connections(server.port, 300)
        try:
            assert ask(server.port, "/healthz").status == 200
            assert threading.active_count() == threads
            server_side = len([*Path("/proc/self/fd").iterdir()]) - before - len(held)
            assert server_side <= MOST_CONNECTIONS
            until(lambda: count("replaced") >= 300 - MOST_CONNECTIONS, "the others are counted")
        finally:
            for client in held:
                client.close()


def test_without_descriptors_it_waits_and_serves_again() -> None:
    """The server pauses when it cannot accept, and answers once there are descriptors."""
    with serving() as (server, _):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = socket.socket()
        client.settimeout(5.0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
        taken = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            client.connect(("127.0.0.1", server.port))
            client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            until(lambda: server._paused_until_s is not None, "it has tried to accept")
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        client.close()


def test_a_server_that_has_used_its_share_of_the_cpu_pauses_and_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reads nothing until a share is left, at the most for a moment, and loses no request."""
    clock = ThreadClock()
    used_s = itertools.chain((0.0, CPU_BURST_S + 0.01), itertools.repeat(CPU_BURST_S + 0.01))
    monkeypatch.setattr(clock, "used_s", lambda: next(used_s))
    paused: list[float] = []
    noting = types.SimpleNamespace(monotonic=time.monotonic, sleep=paused.append)
    monkeypatch.setattr(http_server, "time", noting)
    with serving(cpu=CpuAllowance(clock)) as (server, _):
        for _ in range(3):
            assert ask(server.port, "/healthz").status == 200
    assert paused
    assert all(0 < pause_s <= CPU_PAUSE_S for pause_s in paused)


class InDebt(CpuAllowance):
    """CPU of a thread that has always used more than it may."""

    def left_s(self) -> float:
        return -CPU_BURST_S


def test_a_server_that_uses_more_than_its_share_of_the_cpu_answers_probes() -> None:
    """Each pause is short, also where the share is used up still; before, none was accepted until it was not."""
    with serving(cpu=InDebt()) as (server, _):
        for _ in range(3):
            assert ask(server.port, "/healthz").status == 200
        assert ask(server.port, "/metrics").status == 503


async def test_a_thousand_silent_connections_take_nothing_from_a_worker(make_rig: MakeRig) -> None:
    """Under the usual limit of 1,024 descriptors: metrics are served, and a lane that was lost is replaced."""
    rig = make_rig()
    worker = rig.start_worker()
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    held: list[socket.socket] = []
    try:
        threads = _threads(worker)
        held = silent_connections(worker.port, 1000)
        assert worker.get("/metrics")[0] == 200
        assert _threads(worker) - threads < MOST_CONNECTIONS // 2, "a connection has a thread"
        async with rig.client("acme") as client:
            await client.sign("release", os.urandom(32), timeout_s=20.0)
            for pid in worker.lanes()["acme"]:
                os.kill(pid, signal.SIGKILL)
            await client.sign("release", os.urandom(32), timeout_s=20.0)
        assert worker.metric("sigmill_http_connections_total", outcome="replaced") >= 900
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert all(line.startswith("{") for line in worker.log().splitlines())


def _threads(worker: WorkerProcess) -> int:
    return len([*Path(f"/proc/{worker.pid}/task").iterdir()])


def test_a_second_worker_is_told_of_the_first_one_and_what_it_needs(make_rig: MakeRig) -> None:
    """With its files: of the state directory. With a state directory of its own: of the port."""
    rig = make_rig()
    worker = rig.start_worker()
    same = rig.config(1, worker.port)
    result = sigmill("worker", config=same)
    assert result.code == 2
    assert f"belongs to the worker that runs as process {worker.pid}" in result.err
    result = sigmill("worker", config=rig.config(2, worker.port))
    assert result.code == 2
    assert "another process of this host uses the port, perhaps another worker" in result.err
    assert f"sport = :{worker.port}" in result.err
