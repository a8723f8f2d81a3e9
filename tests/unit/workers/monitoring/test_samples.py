"""MetricsSource of two metrics pages: rates, sums and quantiles as PromQL would say them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from workers.monitoring.http import PageUnavailable
from workers.monitoring.samples import quantile_of
from workers.monitoring.scrape import Page, ScrapedMetrics, read_page
from workers.telemetry.metrics_catalogue import QueueMetrics, WorkerMetrics

INF = float("inf")


class Process:
    """A worker's metrics, and its pages at moments that a test chooses."""

    def __init__(self, instance: str = "one:1") -> None:
        self.instance = instance
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)

    def page(self, at_s: float) -> Page:
        return read_page(self.instance, generate_latest(self.registry).decode(), at_s)


def test_a_rate_is_the_growth_per_second_of_all_processes() -> None:
    """Labels that were not asked for are summed up; a series that was not there has grown from nought."""
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


def test_a_restarted_process_counts_from_nought() -> None:
    """A counter that is smaller than before has begun anew; one whose process is new has no rate yet."""
    old, new, late = Process(), Process(), Process("late:1")
    old.metrics.signatures.labels("acme", "ED25519").inc(1000)
    new.metrics.signatures.labels("acme", "ED25519").inc(30)
    late.metrics.signatures.labels("acme", "ED25519").inc(99)
    source = ScrapedMetrics({"1": old.page(0.0)}, {"1": new.page(10.0), "2": late.page(10.0)})
    assert source.rates("sigmill_signatures_total", "tenant") == {("acme",): 3.0}


def test_gauges_are_summed_up_or_the_greatest_is_taken() -> None:
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
    """What was slow before does not count any more."""
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
    "buckets, q, expected",
    [
        ({1.0: 0, 2.0: 10, INF: 10}, 0.5, 1.5),
        ({1.0: 10, 2.0: 10, INF: 10}, 0.99, 0.99),
        ({1.0: 0, 2.0: 5, INF: 10}, 0.99, 2.0),  # beyond the last bound nothing is known
        ({1.0: 5, 2.0: 5, 4.0: 10, INF: 10}, 0.75, 3.0),
        ({1.0: 0, INF: 0}, 0.5, None),
        ({INF: 3}, 0.5, None),
        ({1.0: 3}, 0.5, None),
        ({}, 0.5, None),
    ],
)
def test_a_quantile_of_cumulative_buckets(
    buckets: dict[float, float], q: float, expected: float | None
) -> None:
    """As histogram_quantile estimates it."""
    assert quantile_of(buckets, q) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "text", ["", "<html>", "go_threads 7\n", "sigmill_x{ 7\n", "# TYPE a counter\na b c\n"]
)
def test_what_is_no_page_of_ours_is_said(text: str) -> None:
    """Another program's page, or a proxy's error, is not an idle cluster."""
    with pytest.raises(PageUnavailable):
        read_page("one:1", text, 0.0)


def test_every_name_that_is_shown_is_a_metric_of_the_catalogue() -> None:
    """The view names metrics as text: each is declared, with the labels that are asked for."""
    from workers.monitoring.snapshot import snapshot_of

    asked: dict[str, set[str]] = {}

    class Asking:
        window_s = 1.0

        def rates(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
            return self.values(name, *by)

        maxima = rates

        def quantiles(self, name: str, q: float, *by: str) -> dict[tuple[str, ...], float]:
            return self.values(name, *by)

        def values(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
            asked.setdefault(name, set()).update(by)
            return {tuple("x" for _ in by): 1.0}

    view = snapshot_of(Asking())
    assert [row.tenant for row in view.tenants] == ["x"]
    known = {
        declared.facts.exposed_name: set(declared.facts.labels)
        for table in (WorkerMetrics, QueueMetrics)
        for _, declared in table.declarations()
    }
    for name, labels in asked.items():
        base = name.removesuffix("_count").removesuffix("_sum") if name not in known else name
        assert labels - {"instance"} <= known[base], name
    assert len(asked) > 20
