"""HTTP server of ``/metrics``, ``/healthz`` and ``/readyz`` of one process, in its own thread.

``/healthz``: the event loop runs. ``/readyz``: the process can claim jobs and at least one lane can sign. Neither
sends anything to Redis or an HSM: probes cause no load there, and an outage causes no restarts.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from queueing.config.addresses import with_port
from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    Question = Callable[[], bool]

_TEXT: Final = [("Content-Type", "text/plain; charset=utf-8")]


class _IPv6Server(ThreadingWSGIServer):
    """IPv6 server; on ``::`` it serves IPv4, too, unless net.ipv6.bindv6only is set."""

    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name for it
        """Log nothing: a scrape is not an event."""


class MetricsServer:
    """HTTP server until ``close``. ``port`` is the actual port where 0 was given; ``table`` is its configuration table.

    Raises ``ConfigError`` where the address cannot be bound.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        alive: Question,
        ready: Question,
        table: str = "metrics",
    ) -> None:
        metrics = make_wsgi_app(registry)
        probes = {"/healthz": alive, "/readyz": ready}

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            probe = probes.get(environ["PATH_INFO"])
            if probe is None:
                if environ["PATH_INFO"] == "/metrics":
                    return cast("Iterable[bytes]", metrics(environ, start_response))
                start_response("404 Not Found", _TEXT)
                return [b"try /metrics, /healthz or /readyz\n"]
            if probe():
                start_response("200 OK", _TEXT)
                return [b"ok\n"]
            start_response("503 Service Unavailable", _TEXT)
            return [b"no\n"]

        try:
            server_class = _IPv6Server if ":" in host else ThreadingWSGIServer
            self._server: WSGIServer = make_server(host, port, app, server_class, handler_class=_Quiet)
        except OSError as error:
            raise ConfigError(
                f"[{table}]",
                "port",
                f"cannot listen on {with_port(host, port)}: {error.strerror}",
                "Choose a free port.",
            ) from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="exporter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server and its thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
