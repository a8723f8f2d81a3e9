"""Metric names of a PromQL expression, checked against the declared ones."""

from __future__ import annotations

import re
from pathlib import Path

from ops.generate.prometheus.rules import files
from workers.telemetry.edge_metrics import IssuerMetrics, RelayMetrics
from workers.telemetry.metric_declarations import MetricTable
from workers.telemetry.metrics_catalogue import QueueMetrics, WorkerMetrics

ROOT = Path(__file__).resolve().parents[3]

_NAME = re.compile(r"\bsigmill[_:][a-zA-Z0-9_:]+")
_RECORD = re.compile(r"^ *- record: (\S+)$", re.MULTILINE)
_SUFFIXES = ("_bucket", "_sum", "_count")


def names_in(expr: str) -> set[str]:
    """Every series of ours that it names."""
    return set(_NAME.findall(expr))


def recorded() -> set[str]:
    """Names that the recording rules produce."""
    return {name for text in files().values() for name in _RECORD.findall(text)}


def exposed() -> set[str]:
    """Every series that a process of ours may have."""
    names = set()
    tables: tuple[type[MetricTable], ...] = (
        WorkerMetrics,
        QueueMetrics,
        IssuerMetrics,
        RelayMetrics,
    )
    for table in tables:
        for _, declared in table.declarations():
            name = declared.facts.exposed_name
            names |= {name + suffix for suffix in _SUFFIXES} if declared.facts.bounds else {name}
    return names


def known() -> set[str]:
    """Names that an expression may use."""
    return exposed() | recorded()
