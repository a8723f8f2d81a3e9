"""The catalogue: every metric is declared there once, documented, and named by the rule."""

from __future__ import annotations

import re
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ops.generate.pages import metrics_page
from tests.support.tools import tool
from workers.telemetry.edge_metrics import IssuerMetrics, RelayMetrics
from workers.telemetry.metric_declarations import Declared, MetricTable, counter_of
from workers.telemetry.metrics import Metrics, process_registry, say_build
from workers.telemetry.metrics_catalogue import QueueMetrics, WorkerMetrics
from workers.telemetry.series_budget import Bounded, Ranked

TABLES: list[type[MetricTable]] = [WorkerMetrics, QueueMetrics, IssuerMetrics, RelayMetrics]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_for_a_registry_has_the_metrics_it_declares(table: type[MetricTable]) -> None:
    """The class has the declaration, and the table the metric."""
    registry = CollectorRegistry()
    made = table(registry)
    for attribute, declared in table.declarations():
        assert getattr(table, attribute) is declared
        assert not isinstance(getattr(made, attribute), Declared)
    exposed = {family.name for family in registry.collect()}
    assert exposed == {f"sigmill_{declared.facts.name}" for _, declared in table.declarations()}


@pytest.mark.parametrize("table", TABLES)
def test_a_name_is_declared_once(table: type[MetricTable]) -> None:
    """In a process; worker and exporter share a few."""
    names = [declared.facts.name for _, declared in table.declarations()]
    assert len(names) == len(set(names))


def test_worker_and_exporter_tell_different_things() -> None:
    """A metric of both would count twice in a sum."""
    shared = {declared.facts.name for _, declared in WorkerMetrics.declarations()} & {
        declared.facts.name for _, declared in QueueMetrics.declarations()
    }
    assert shared == {
        "build_info",
        "redis_errors",
        "tenants",
        "config_reloads",
        "http_connections",
        "log_lines_dropped",
    }


@pytest.mark.parametrize("table", TABLES)
def test_every_label_is_explained_on_the_page(table: type[MetricTable]) -> None:
    """With the set that it is from."""
    for _, declared in table.declarations():
        assert set(declared.facts.labels) <= metrics_page._LABELS.keys(), declared.facts.name
        assert f"`{declared.facts.exposed_name}`" in metrics_page.page()


def touch(made: MetricTable) -> None:
    """Every metric with some labels, as the first job would."""
    for attribute, declared in type(made).declarations():
        metric = getattr(made, attribute)
        labels = [f"some-{label}" for label in declared.facts.labels]
        if isinstance(metric, Ranked):
            metric.show({tuple(labels): 1.0})
        elif isinstance(metric, Bounded) or labels:
            metric.labels(*labels)


@pytest.mark.parametrize("table", TABLES)
def test_promtool_has_nothing_to_say(table: type[MetricTable]) -> None:
    """Names, units, types and help of all metrics."""
    registry = process_registry()
    made = Metrics(registry) if table is WorkerMetrics else table(registry)
    touch(made)
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_promtool_would_say_something() -> None:
    """So the test before can fail."""

    class Wrong(MetricTable):
        milliseconds = counter_of("wait_milliseconds", "In a wrong unit.", "tenant")

    touch(Wrong(registry := CollectorRegistry()))
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        check=False,
    )
    assert b"milliseconds" in checked.stdout + checked.stderr


def test_what_runs_is_told() -> None:
    """Version and process, as labels of a 1."""
    say_build(Metrics(registry := CollectorRegistry()), "worker")
    page = generate_latest(registry).decode()
    labels = r'process="worker",python="3\.[0-9.]+",version="[0-9][^"]*"'
    assert re.search(rf"^sigmill_build_info\{{{labels}\}} 1\.0$", page, re.MULTILINE)
