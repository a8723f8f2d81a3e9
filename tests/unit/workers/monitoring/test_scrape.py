"""Metrics of scraped pages: rates, sums and quantiles as PromQL computes them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from workers.monitoring.http import PageUnavailable
from workers.monitoring.scrape import Page, ScrapedMetrics, read_page
from workers.telemetry.metrics_catalogue import WorkerMetrics


class Process:
    """Metrics of a worker, and its pages at times that a test chooses."""

    def __init__(self, instance: str = "one:1") -> None:
        self.instance = instance
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)

    def page(self, at_s: float) -> Page:
        return read_page(self.instance, generate_latest(self.registry).decode(), at_s)


def test_a_rate_is_the_growth_per_second_of_all_processes() -> None:
    """Other labels are summed; a series that is new since the first fetch has grown from 0."""
    one, two = Process("one:1"), Process("two:1")
    one.metrics.signatures.labels("acme", "ED25519").inc(100)
    before = {"1": one.page(10.0), "2": two.page(10.0)}
    one.metrics.signatures.labels("acme", "ED25519").inc(20)
    one.metrics.signatures.labels("globex", "ED25519").inc(4)
    two.metrics.signatures.labels("acme", "ECDSA_SHA_256").inc(10)
    source = ScrapedMetrics(before, {"1": one.page(12.0), "2": two.page(15.0)})
    assert source.rates("sigmill_signatures_total") == {(): 14.0}
    assert source.rates("sigmill_signatures_total", "tenant") == {("acme",): 12.0, ("globex",): 2.0}
    by_instance = source.rates("sigmill_signatures_total", "instance")
    assert by_instance == {("one:1",): 12.0, ("two:1",): 2.0}
    assert source.window_s == 5.0


def test_a_restarted_process_counts_from_zero() -> None:
    """A counter that is lower than before was reset; a process that is new has no rate yet."""
    old, new, late = Process(), Process(), Process("late:1")
    old.metrics.signatures.labels("acme", "ED25519").inc(1000)
    new.metrics.signatures.labels("acme", "ED25519").inc(30)
    late.metrics.signatures.labels("acme", "ED25519").inc(99)
    source = ScrapedMetrics({"1": old.page(0.0)}, {"1": new.page(10.0), "2": late.page(10.0)})
    assert source.rates("sigmill_signatures_total", "tenant") == {("acme",): 3.0}


def test_gauges_are_summed_or_their_maximum_is_taken() -> None:
    """Sessions add up over hosts; an open circuit on one of them is an open circuit."""
    one, two = Process("one:1"), Process("two:1")
    for process, sessions, circuit in ((one, 4, 0), (two, 8, 2)):
        process.metrics.sessions.labels("acme").set(sessions)
        process.metrics.circuit_open.labels("acme").set(circuit)
    source = ScrapedMetrics({}, {"1": one.page(0.0), "2": two.page(0.0)})
    assert source.values("sigmill_sessions", "token") == {("acme",): 12.0}
    assert source.maxima("sigmill_token_circuit_open", "token") == {("acme",): 2.0}
    assert source.values("sigmill_redis_up") == {}


def test_quantiles_are_of_what_was_observed_in_between() -> None:
    """Earlier slow jobs do not count any more."""
    process = Process()
    observe = process.metrics.queue_wait_seconds.labels("acme").observe
    for _ in range(1000):
        observe(100.0)
    before = process.page(0.0)
    for _ in range(100):
        observe(0.0015)  # within (0.001, 0.002]
    source = ScrapedMetrics({"1": before}, {"1": process.page(1.0)})
    p50 = source.quantiles("sigmill_queue_wait_seconds", 0.5, "tenant")
    assert p50[("acme",)] == pytest.approx(0.0015)
    assert ScrapedMetrics({"1": before}, {"1": before}).quantiles("sigmill_queue_wait_seconds", 0.5) == {}


@pytest.mark.parametrize(
    "text", ["", "<html>", "go_threads 7\n", "sigmill_x{ 7\n", "# TYPE a counter\na b c\n"]
)
def test_a_page_without_metrics_of_sigmill_is_an_error(text: str) -> None:
    """An empty page, HTML, another program's metrics and damaged lines raise ``PageUnavailable``."""
    with pytest.raises(PageUnavailable):
        read_page("one:1", text, 0.0)
