"""HTTP server of ``/metrics``, ``/healthz`` and ``/readyz`` of one process, in one thread of its own.

``/healthz``: the event loop runs. ``/readyz``: the process's own state: a worker that it can claim jobs and sign
(``workers/readiness.py``), the exporter that its last surveys did not all fail (``workers/telemetry/queue_exporter.py``). Neither sends anything to Redis or an HSM: probes cause no load there, and an outage causes no
restarts.

A client that reaches the port may open any number of connections and send nothing on them. They cost the process at most
``MOST_CONNECTIONS`` descriptors and no thread: each has a time limit, and a new one replaces the oldest. Requests without a
pause cost it a share of the CPU (``workers/telemetry/http_pages.py``): while that is used up, all of them wait for a moment at a time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from queueing.config.addresses import with_port
from queueing.errors import ConfigError
from workers.telemetry.http_pages import TEXT, Pages, response
from workers.telemetry.http_request import BadRequest, read_request

if TYPE_CHECKING:
    from workers.config.settings import ExporterSettings, MetricsSettings

log = logging.getLogger("sigmill.metrics")

MOST_CONNECTIONS: Final = 32
"""Prometheus, two probes and an operator have four at a time."""

REQUEST_S: Final = 5.0
"""Longest time from the connection to the end of its request."""

CONNECTION_S: Final = 10.0
"""Longest time of a connection; Prometheus gives up a scrape after as long (scrape_timeout)."""

_ACCEPTED_AT_ONCE: Final = 8
"""Connections taken between two reads: below the cap, so that a request that has arrived is answered first."""

_PAUSE_S: Final = 0.2
"""Pause of accepting after an error: where the process has no descriptors left, the next try fails as well."""

CPU_PAUSE_S: Final = 0.04
"""Longest pause for the CPU, in which nothing is read either: a request may come in 16,000 pieces. A probe has up to ``_QUEUE_LENGTH``
connections before it, of which ``_ACCEPTED_AT_ONCE`` are taken between two pauses: it waits for less than a second, and probes of
Kubernetes give up after three."""

_READ_BYTES: Final = 16 * 1024
_QUEUE_LENGTH: Final = 128


class _Connection:
    """One connection: its bytes so far, then what is left of the answer."""

    def __init__(self, sock: socket.socket, since_s: float) -> None:
        self.sock = sock
        self.since_s = since_s
        self.received = b""
        self.outcome = ""
        self.left = memoryview(b"")

    @property
    def answering(self) -> bool:
        return bool(self.outcome)

    @property
    def ends_at_s(self) -> float:
        return self.since_s + (CONNECTION_S if self.answering else REQUEST_S)


class MetricsServer:
    """HTTP server until ``close``. ``port`` is the actual port where 0 was given.

    ``connections`` counts connections by outcome: ``answered``, ``refused`` (no HTTP, or too long), ``left`` (closed by
    the peer), ``timed_out``, ``replaced`` (by a newer one), ``failed``. ``table`` is the address' configuration table.
    Raises ``ConfigError`` where the address cannot be bound.
    """

    def __init__(
        self,
        address: MetricsSettings | ExporterSettings,
        pages: Pages,
        *,
        connections: Counter,
        table: str = "metrics",
    ) -> None:
        self._pages = pages
        self._counter = connections
        self._listener = _listen(address, table)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._ended, self._end = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._paused_until_s: float | None = None
        self._open: dict[socket.socket, _Connection] = {}  # oldest first
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server and its thread."""
        self._end.close()
        self._thread.join()
        for connection in [*self._open.values()]:
            self._close(connection, "left")
        for sock in (self._listener, self._ended):
            sock.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            ready = {key.fileobj for key, _ in self._selector.select(self._wait_s())}
            if self._ended in ready:
                return
            for connection in [c for sock, c in self._open.items() if sock in ready]:
                self._advance(connection)
            self._close_overdue()
            if self._listener in ready:
                self._accept()
            self._resume()
            if pause_s := self._pages.cpu.pause_s():
                time.sleep(min(pause_s, CPU_PAUSE_S))

    def _wait_s(self) -> float | None:
        """Seconds until the next time limit; None where there is none."""
        times = [connection.ends_at_s for connection in self._open.values()]
        if self._paused_until_s is not None:
            times.append(self._paused_until_s)
        return max(min(times) - time.monotonic(), 0.0) if times else None

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self._selector.unregister(self._listener)
                    self._paused_until_s = time.monotonic() + _PAUSE_S
                    return
                continue  # the peer has left already (accept(2), 'Error handling')
            sock.setblocking(False)
            self._make_room()
            connection = self._open[sock] = _Connection(sock, time.monotonic())
            self._selector.register(sock, selectors.EVENT_READ)
            self._advance(connection)

    def _resume(self) -> None:
        if self._paused_until_s is not None and time.monotonic() >= self._paused_until_s:
            self._paused_until_s = None
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _make_room(self) -> None:
        """Close the oldest connection, rather one that has not sent its request, where there are too many."""
        if len(self._open) >= MOST_CONNECTIONS:
            oldest = [*self._open.values()]
            self._close(next((c for c in oldest if not c.answering), oldest[0]), "replaced")

    def _close_overdue(self) -> None:
        now_s = time.monotonic()
        for connection in [c for c in self._open.values() if c.ends_at_s <= now_s]:
            self._close(connection, "timed_out")

    def _advance(self, connection: _Connection) -> None:
        """Read or write as much as the socket takes."""
        try:
            if not connection.answering:
                self._read(connection)
            if connection.answering:
                self._write(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection, "left")

    def _read(self, connection: _Connection) -> None:
        received = connection.sock.recv(_READ_BYTES)
        if not received:
            self._close(connection, "left")
            return
        connection.received += received
        try:
            request = read_request(connection.received)
            if request is None:
                return
            answer, connection.outcome = self._pages.answer(request), "answered"
        except BadRequest as error:
            answer, connection.outcome = response(error.status, [TEXT], b""), "refused"
        except Exception as error:  # noqa: BLE001 - a metric that cannot be read costs one answer, not the server
            log.warning("metrics.failed", extra={"why": f"{type(error).__name__}: {error}"})
            answer, connection.outcome = response("500 Internal Server Error", [TEXT], b""), "failed"
        connection.left = memoryview(answer)
        self._selector.modify(connection.sock, selectors.EVENT_WRITE)

    def _write(self, connection: _Connection) -> None:
        while connection.left:
            connection.left = connection.left[connection.sock.send(connection.left) :]
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_WR)
        self._close(connection, connection.outcome)

    def _close(self, connection: _Connection, outcome: str) -> None:
        if self._open.pop(connection.sock, None) is not None:
            self._selector.unregister(connection.sock)
            connection.sock.close()
            self._counter.labels(outcome).inc()


def _listen(address: MetricsSettings | ExporterSettings, table: str) -> socket.socket:
    """Listening socket; on ``::`` it serves IPv4, too, unless net.ipv6.bindv6only is set."""
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_QUEUE_LENGTH)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        where = with_port(address.host, address.port)
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"[{table}]",
                "port",
                f"cannot listen on {where}: another process of this host uses the port,"
                " perhaps another worker or exporter",
                f"`ss -ltnp 'sport = :{address.port}'` shows it. Stop it, or give this process a port of its own in"
                f" [{table}]; a second worker needs a service file with a state_dir of its own as well.",
            ) from error
        raise ConfigError(
            f"[{table}]",
            "host" if error.errno != errno.EACCES else "port",
            f"cannot listen on {where}: {error.strerror}",
            "Use an address of this host, and a port above 1023 that is free.",
        ) from error
    return listener
