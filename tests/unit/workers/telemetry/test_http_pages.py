"""Pages of the HTTP server: metrics and the two probes, as whole answers, and the CPU that they may cost; the sockets are tested with real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric

from workers.telemetry.http_pages import (
    CPU_BURST_S,
    CPU_SHARE,
    KEPT_IN_DEBT_S,
    KEPT_S,
    CpuAllowance,
    Pages,
    ThreadClock,
)
from workers.telemetry.http_request import Request
from workers.telemetry.http_server import CPU_PAUSE_S


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


def taken_apart(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    version, _, status = first.partition(" ")
    assert version == "HTTP/1.1"
    return Answer(status, dict(line.split(": ", 1) for line in lines), body)


def pages_of(condition: Condition | None = None) -> Pages:
    """Pages of a registry with one counter."""
    registry = CollectorRegistry()
    Counter("signed", "Signed digests.", registry=registry).inc(3)
    return Pages(registry, condition or Condition())


def ask(
    path: str,
    method: str = "GET",
    *,
    pages: Pages | None = None,
    condition: Condition | None = None,
    accept: str = "",
) -> Answer:
    asked = Request(method, path, headers={"accept": accept} if accept else {})
    return taken_apart((pages or pages_of(condition)).answer(asked))


class HandClock(ThreadClock):
    """Clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 5.0

    def now_s(self) -> float:
        return self.now

    def used_s(self) -> float:
        return self.used


class Scraped:
    """Pages with two counters, whose thread has used most of what it may. ``page_s``: CPU time that a page costs."""

    def __init__(self, page_s: float = 0.0) -> None:
        self.clock = HandClock()
        self.page_s = page_s
        registry = CollectorRegistry()
        registry.register(self)
        self.counter = Counter("signed", "Signed digests.", registry=registry)
        self.other = Counter("other", "Another.", registry=registry)
        cpu = CpuAllowance(self.clock)
        self.pages = Pages(registry, Condition(), cpu=cpu)
        cpu.left_s()
        self.clock.used += CPU_BURST_S * 0.9

    def collect(self) -> Iterator[Metric]:
        self.clock.used += self.page_s
        return iter(())

    def scrape(self, query: str = "", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return taken_apart(self.pages.answer(Request("GET", "/metrics", query, named)))


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
    pages = pages_of()
    got, head = ask(path, pages=pages), ask(path, "HEAD", pages=pages)
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


def test_the_thread_has_its_share_of_the_cpu_and_a_burst() -> None:
    """Its use counts from the first look; what is not used is not saved up beyond the burst."""
    clock = HandClock()
    cpu = CpuAllowance(clock)
    clock.used += 50.0
    assert (cpu.left_s(), cpu.pause_s()) == (CPU_BURST_S, 0.0)
    clock.used += CPU_BURST_S + 0.1
    assert cpu.left_s() == pytest.approx(-0.1)
    assert cpu.pause_s() == pytest.approx(0.1 / CPU_SHARE)
    clock.now += 1.0
    assert cpu.left_s() == pytest.approx(CPU_SHARE - 0.1)
    clock.now += 1000.0
    assert cpu.left_s() == CPU_BURST_S


def test_a_flood_is_over_within_a_second_however_long_it_was() -> None:
    """The thread used more than its share for an hour, as by pages of all formats in turn."""
    clock = HandClock()
    cpu = CpuAllowance(clock)
    cpu.left_s()
    for _ in range(3600):
        clock.now += 1.0
        clock.used += 2 * CPU_SHARE
        cpu.left_s()
    assert cpu.pause_s() > 0
    clock.now += 1.0
    assert cpu.pause_s() == 0


def test_while_the_cpu_is_scarce_a_page_is_sent_again_for_a_tenth_of_a_second() -> None:
    """It is made anew when it is older, and when the CPU is no longer scarce; then none is kept."""
    scraped = Scraped()
    scraped.counter.inc()
    assert b"signed_total 1.0" in scraped.scrape().body
    scraped.counter.inc()
    scraped.clock.now += KEPT_S - 0.01
    again = scraped.scrape()
    assert again.status == "200 OK"
    assert b"signed_total 1.0" in again.body
    scraped.clock.now += 0.02
    assert b"signed_total 2.0" in scraped.scrape().body
    scraped.counter.inc()
    scraped.clock.now += CPU_BURST_S / CPU_SHARE
    scraped.scrape()
    scraped.counter.inc()
    assert b"signed_total 4.0" in scraped.scrape().body
    assert scraped.pages._kept == {}


def test_a_scraper_gets_its_format_whatever_others_ask_for() -> None:
    """A page of each format is kept beside the others; variants of the headers make no further ones."""
    scraped = Scraped()
    assert scraped.scrape().headers["Content-Type"].startswith("text/plain")
    for version in ("1.0.0", "0.0.1", "7.7", "rubbish"):
        answer = scraped.scrape(accept=f"text/plain;q=0.5, Application/OpenMetrics-Text; version={version}")
        assert answer.status == "200 OK"
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert scraped.scrape(accept_encoding="br, gzip;q=0.1").headers["Content-Encoding"] == "gzip"
    assert len(scraped.pages._kept) == 3


def test_while_the_cpu_is_scarce_another_selection_of_metrics_has_to_wait() -> None:
    """Selections have no end: one is kept, and it takes no page of all metrics from a scraper."""
    scraped = Scraped()
    one, other = "name%5B%5D=signed_total", "name[]=other_total"
    assert b"other_total" not in scraped.scrape(one).body
    assert scraped.scrape(one).status == "200 OK"
    refused = scraped.scrape(other)
    assert (refused.status, refused.headers["Retry-After"]) == ("503 Service Unavailable", "1")
    assert b"other_total" in scraped.scrape().body
    scraped.clock.now += KEPT_S + 0.01
    assert b"signed_total" not in scraped.scrape(other).body


def each_format(scraped: Scraped) -> list[str]:
    """Ask for a page of each; their statuses."""
    return [
        scraped.scrape(query, accept=accept, accept_encoding=encoding).status
        for query in ("", "name[]=signed_total")
        for accept in ("", "application/openmetrics-text")
        for encoding in ("", "gzip")
    ]


@pytest.mark.parametrize(
    "page_s, answered", [(0.01, 0.9), (0.1, 0.1)], ids=["a page of a few tenants", "one of a thousand"]
)
def test_pages_of_all_formats_in_turn_have_no_more_than_the_share(page_s: float, answered: float) -> None:
    """Probes are in one line with them, so what they may cost bounds how long a probe waits."""
    scraped = Scraped(page_s)
    used_before, seconds = scraped.clock.used, 100
    statuses = []
    for _ in range(int(seconds / CPU_PAUSE_S)):
        before = scraped.clock.used
        statuses += each_format(scraped)
        scraped.clock.now += CPU_PAUSE_S + scraped.clock.used - before
    assert scraped.clock.used - used_before <= CPU_SHARE * (scraped.clock.now - 1000.0) + CPU_BURST_S
    assert statuses.count("200 OK") > answered * len(statuses)


def test_where_more_than_the_share_was_used_a_page_is_sent_again_for_a_second() -> None:
    """What was not made since then has to wait, also a page of all metrics; a probe is answered as ever."""
    scraped = Scraped(page_s=CPU_BURST_S)
    assert scraped.scrape().status == "200 OK"
    scraped.counter.inc()
    scraped.clock.now += KEPT_S + 0.01
    assert b"signed_total 0.0" in scraped.scrape().body
    refused = scraped.scrape(accept_encoding="gzip")
    assert (refused.status, refused.headers["Retry-After"]) == ("503 Service Unavailable", "1")
    assert ask("/healthz", pages=scraped.pages).status == "200 OK"
    scraped.clock.now += KEPT_IN_DEBT_S
    assert b"signed_total 1.0" in scraped.scrape().body


def test_a_page_that_is_older_than_a_second_is_not_sent_again() -> None:
    """Also where none is made: old counters would look like those of a worker that stands still."""
    scraped = Scraped(page_s=CPU_BURST_S)
    assert scraped.scrape().status == "200 OK"
    scraped.clock.now += KEPT_IN_DEBT_S + 0.01
    scraped.clock.used += 1.0
    assert scraped.scrape().status == "503 Service Unavailable"


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
def test_metrics_can_be_read_only(method: str) -> None:
    """RFC 9110, 15.5.6: the answer says which methods there are."""
    answer = ask("/metrics", method)
    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["Allow"] == "GET, HEAD"
