"""Pages of the HTTP server, as whole answers: metrics and the two probes.

A page of metrics costs about 10 ms of CPU, in a thread that shares the interpreter with the event loop. While the server's
share of the CPU is scarce, a page that was made within the last tenth of a second is sent again; so a client that scrapes without a
pause is answered, and delays no signature. Probes wait in one line with the scrapers: where much more than the share is used, as by
pages of all formats in turn, none is made, so that the line moves on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import parse_qs, urlencode

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from workers.telemetry.http_request import Request

CPU_SHARE: Final = 0.2
"""Share of a core that the server's thread may use for long: twenty pages a second, or a thousand probes."""

CPU_BURST_S: Final = 1.0
"""CPU time that it may use at once after a pause."""

MOST_OWED_S: Final = CPU_SHARE
"""Probes are answered as ever a second after a flood, however long it was."""

_SCARCE_BELOW_S: Final = CPU_BURST_S / 2
"""Pages are sent again from here on; connections wait when nothing is left."""

_MADE_ABOVE_S: Final = -MOST_OWED_S / 2
"""No page is made from here on. A flood in one format does not come so far, if a page costs less than this."""

KEPT_S: Final = 0.1
"""Longest time that a page is sent again: ten are made in a second then, for half of the share."""

KEPT_IN_DEBT_S: Final = 1.0
"""As long where so much more was used that none is made, and less with a smaller debt: then all eight formats in turn find a page."""

OPENMETRICS: Final = "application/openmetrics-text"

TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")


class Health(Protocol):
    """State of the process; read from the server's thread."""

    @property
    def alive(self) -> bool:
        """Whether the event loop runs."""

    @property
    def ready(self) -> bool:
        """Whether the process does its work."""


class ThreadClock:
    """Clock of the thread that asks."""

    def now_s(self) -> float:
        """Seconds since some moment; no step changes it."""
        return time.monotonic()

    def used_s(self) -> float:
        """CPU time of this thread so far, in seconds."""
        return time.thread_time()


class CpuAllowance:
    """CPU time that the thread of the server may use: ``CPU_SHARE`` of a core, ``CPU_BURST_S`` at once."""

    def __init__(self, clock: ThreadClock | None = None) -> None:
        self.clock = clock or ThreadClock()
        self._left_s = CPU_BURST_S
        self._seen: tuple[float, float] | None = None

    def left_s(self) -> float:
        """Seconds left by now, negative where more was used. For one thread, whose use counts from the first call."""
        now_s, used_s = seen = self.clock.now_s(), self.clock.used_s()
        since_s, used_before_s = self._seen or seen
        self._seen = seen
        self._left_s += (now_s - since_s) * CPU_SHARE - (used_s - used_before_s)
        self._left_s = max(min(self._left_s, CPU_BURST_S), -MOST_OWED_S)
        return self._left_s

    def pause_s(self) -> float:
        """Time after which something is left again; 0 where something is."""
        return max(-self.left_s() / CPU_SHARE, 0.0)


@dataclass(frozen=True, slots=True)
class _Page:
    """Page of metrics. ``names``: the metrics that were asked for; all where there are none."""

    names: tuple[str, ...]
    status: str
    headers: list[tuple[str, str]]
    body: bytes
    made_at_s: float


class Pages:
    """The pages: metrics of the registry, and the two probes. ``cpu`` is that of the thread that asks for them."""

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Health,
        *,
        cpu: CpuAllowance | None = None,
    ) -> None:
        self.cpu = cpu or CpuAllowance()
        self._metrics = make_wsgi_app(registry)
        self._health = health
        self._kept: dict[tuple[bool, bool, bool], _Page] = {}

    def answer(self, request: Request) -> bytes:
        """The whole answer to one request."""
        if request.path == "/healthz":
            return _probe(self._health.alive, request)
        if request.path == "/readyz":
            return _probe(self._health.ready, request)
        if request.path == "/metrics":
            return self._scrape(request)
        return response("404 Not Found", [TEXT], b"try /metrics, /healthz or /readyz\n", request)

    def _scrape(self, request: Request) -> bytes:
        """The metrics, of up to ``KEPT_S`` ago where the CPU is scarce; 503 for a selection of them that was not made since then.

        Where more was used than there is, they are of up to ``KEPT_IN_DEBT_S`` ago; with much more, 503 is for all that was not made since.
        """
        if request.method not in {"GET", "HEAD"}:
            return response("405 Method Not Allowed", [TEXT, ("Allow", "GET, HEAD")], b"", request)
        names = tuple(parse_qs(request.query).get("name[]", ()))
        openmetrics = OPENMETRICS in _listed(request, "accept")
        packed = "gzip" in _listed(request, "accept-encoding")
        kind = (openmetrics, packed, bool(names))
        left_s = self.cpu.left_s()
        scarce = left_s <= _SCARCE_BELOW_S
        # 1 where no page is made, negative where there is no debt
        debt = min(left_s / _MADE_ABOVE_S, 1.0)
        if not scarce:
            self._kept.clear()  # a page of a thousand tenants has a megabyte
        page = self._kept.get(kind)
        if page is None or self.cpu.clock.now_s() - page.made_at_s > max(KEPT_S, debt * KEPT_IN_DEBT_S):
            if debt >= 1.0:
                return _busy(request)
            page = self._made(names, openmetrics=openmetrics, packed=packed)
            if scarce:
                self._kept[kind] = page
        elif page.names != names:
            return _busy(request)
        return response(page.status, page.headers, page.body, request)

    def _made(self, names: tuple[str, ...], *, openmetrics: bool, packed: bool) -> _Page:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            started.append((status, headers))

        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/metrics",
            "HTTP_ACCEPT": f"{OPENMETRICS}; version=1.0.0" if openmetrics else "",
            "HTTP_ACCEPT_ENCODING": "gzip" if packed else "",
            "QUERY_STRING": urlencode([("name[]", name) for name in names]),
        }
        parts = cast("Iterable[bytes]", self._metrics(environ, start_response))
        status, headers = started[0]
        return _Page(names, status, headers, b"".join(parts), self.cpu.clock.now_s())


def _listed(request: Request, header: str) -> set[str]:
    """Entries of a header, in lower case, without their parameters."""
    entries = request.headers.get(header, "").split(",")
    return {entry.partition(";")[0].strip().lower() for entry in entries}


def _busy(request: Request) -> bytes:
    return response("503 Service Unavailable", [TEXT, ("Retry-After", "1")], b"busy\n", request)


def _probe(well: bool, request: Request) -> bytes:  # noqa: FBT001 - the one thing that it answers
    if well:
        return response("200 OK", [TEXT], b"ok\n", request)
    return response("503 Service Unavailable", [TEXT], b"no\n", request)


def response(
    status: str, headers: Iterable[tuple[str, str]], body: bytes, request: Request | None = None
) -> bytes:
    """Head and body; the head alone where HEAD was asked."""
    fields = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in fields), ""))
    return head.encode("latin-1") + (b"" if request is not None and request.method == "HEAD" else body)
