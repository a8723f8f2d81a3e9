"""``docs/reference/metrics.md``, from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.generate.markdown import table
from queueing.protocol.algorithms import Algorithm
from workers.telemetry.metrics_catalogue import ProcessMetrics, QueueMetrics, WorkerMetrics

if TYPE_CHECKING:
    from workers.telemetry.metric_declarations import Facts, MetricTable

_HEAD: Final = """\
# Metrics

<!-- Written by `make generate` from workers/telemetry/metrics_catalogue.py; do not edit. -->

Served at `/metrics`: by each `sigmill worker` at `[metrics]` (port 9464), and by one `sigmill exporter` for the
cluster at `[exporter]` (port 9465). Times are in seconds; a name that ends in `_total` only grows while its process
lives. A process has less than 2,000 series: tenants and tokens beyond the first that are active are counted together
as `other`. CPU, memory and descriptors of each process are there as `process_*`.

What happens by itself is told by workers and adds up over them; what stands in Redis is told once, by the exporter.
"""

_LABELS: Final = {
    "tenant": "a tenant of the configuration, or `other`",
    "token": "a token of the configuration, or `other`",
    "key": "a key of the tenant's file",
    "algorithm": f"{', '.join(f'`{name}`' for name in sorted(Algorithm))}, or `other`",
    "reason": "of digests and jobs: the code of an error (`sigmill explain CODE`); of returned jobs also `drain`; of "
    "lanes: the PKCS#11 name of the fault, `exit_N`, `signal_N`, `disconnected`, `unreachable`",
    "outcome": "of jobs: `done`, `fenced`, or a reason; of the limiter: `granted`, `rate`, `budget`, `hard_cap`; of "
    "canaries: `ok`, or a reason; of directories and reloads: how it went",
    "operation": "`claim`, `extend`, `commit`, `release`, `caps`, `survey`, …: what was tried",
    "event": "`extended`, `lost`",
    "state": "`ready`, `leased`",
    "class": "`interactive`, `standard`, `bulk`: `class` of the tenant's file",
    "result": "`good`, `bad`",
    "process": "`worker`, `exporter`",
    "version": "of Sigmill",
    "python": "of Python",
}


def page() -> str:
    """The page as Markdown."""
    inherited = {attribute for attribute, _ in ProcessMetrics.declarations()}
    parts = [
        _HEAD,
        _section("Of workers", WorkerMetrics, inherited),
        _section("Of the exporter", QueueMetrics, inherited),
        _section("Of both", ProcessMetrics, set()),
        "## Labels\n\n" + table(("Label", "Values"), sorted(_LABELS.items())),
    ]
    return "\n".join(parts)


def _section(title: str, metrics: type[MetricTable], without: set[str]) -> str:
    facts = [declared.facts for attribute, declared in metrics.declarations() if attribute not in without]
    rows = [(f"`{each.exposed_name}`", each.kind, ", ".join(each.labels), _meaning(each)) for each in facts]
    return f"## {title}\n\n" + table(("Name", "Kind", "Labels", "Meaning"), rows)


def _meaning(facts: Facts) -> str:
    if not facts.bounds:
        return facts.help
    return f"{facts.help} Bounds: {', '.join(f'{bound:g}' for bound in facts.bounds)}."
