"""Pages of the HTTP server: metrics and the two probes, as whole answers; the sockets are tested with real ones."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter

from workers.telemetry.http_request import Request
from workers.telemetry.http_server import Pages


@dataclass
class Condition:
    """State of the process."""

    alive: bool = True
    ready: bool = True


@dataclass
class Answer:
    """An answer, taken apart."""

    status: str
    headers: dict[str, str]
    body: bytes


def ask(path: str, method: str = "GET", *, condition: Condition | None = None, accept: str = "") -> Answer:
    registry = CollectorRegistry()
    Counter("signed", "Signed digests.", registry=registry).inc(3)
    pages = Pages(registry, condition or Condition())
    raw = pages.answer(Request(method, path, headers={"accept": accept} if accept else {}))
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    version, _, status = first.partition(" ")
    assert version == "HTTP/1.1"
    return Answer(status, dict(line.split(": ", 1) for line in lines), body)


@pytest.mark.parametrize(
    "path, condition, status",
    [
        ("/healthz", Condition(), "200 OK"),
        ("/healthz", Condition(alive=False), "503 Service Unavailable"),
        ("/healthz", Condition(ready=False), "200 OK"),
        ("/readyz", Condition(), "200 OK"),
        ("/readyz", Condition(ready=False), "503 Service Unavailable"),
        ("/readyz", Condition(alive=False), "200 OK"),
    ],
)
def test_each_probe_asks_one_thing(path: str, condition: Condition, status: str) -> None:
    """A worker that cannot claim is alive: to restart it would not help."""
    assert ask(path, condition=condition).status == status


def test_the_metrics_are_those_of_the_registry() -> None:
    """In the text format, or in OpenMetrics where the scraper asks for it."""
    assert b"signed_total 3.0" in ask("/metrics").body
    assert ask("/metrics").headers["Content-Type"].startswith("text/plain")
    wanted = ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert wanted.headers["Content-Type"].startswith("application/openmetrics-text")
    assert wanted.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/unknown"])
def test_a_head_request_has_the_headers_of_a_get_and_no_body(path: str) -> None:
    """RFC 9110, 9.3.2: also the length is that of the page."""
    got, head = ask(path), ask(path, "HEAD")
    assert head.body == b""
    assert head.status == got.status
    assert head.headers == got.headers
    assert head.headers["Content-Length"] == str(len(got.body))


def test_the_answer_to_another_path_names_the_paths_that_there_are() -> None:
    """For one that was typed by hand."""
    answer = ask("/metric")
    assert answer.status == "404 Not Found"
    assert answer.body == b"try /metrics, /healthz or /readyz\n"


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/unknown"])
def test_every_answer_ends_its_connection(path: str) -> None:
    """A connection has one request: it holds a descriptor no longer than that."""
    answer = ask(path)
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Content-Length"] == str(len(answer.body))
