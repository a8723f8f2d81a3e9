"""``docs/reference/metrics.md``, from the metrics catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.generate.pages.markdown import table
from queueing.protocol.algorithms import Algorithm
from workers.telemetry.edge_metrics import SHED_CAUSES, HttpsMetrics, IssuerMetrics, RelayMetrics
from workers.telemetry.metrics_catalogue import ProcessMetrics, QueueMetrics, WorkerMetrics

if TYPE_CHECKING:
    from workers.telemetry.metric_declarations import Facts, MetricTable

_HEAD: Final = """\
# Metrics

<!-- Written by `make generate` from workers/telemetry/metrics_catalogue.py and edge_metrics.py; do not edit. -->

Each `sigmill worker` serves `/metrics` at `[metrics]` (port 9464). One `sigmill exporter` for the cluster serves it at
`[exporter]` (port 9465), and each `sigmill relay` at `[metrics]` of relay.toml (port 9466). Times are in seconds. A name that ends in `_total` is a counter. A process has less than 2,000
series: the first active tenants and tokens have labels of their own, and all later ones are counted as `other`. CPU,
memory and file descriptors of each process are exported as `process_*`.

Workers count events; sum their metrics over all workers. The exporter reports the state of Redis once for the cluster.
"""

_LABELS: Final = {
    "tenant": "a tenant of the configuration, or `other`",
    "token": "a token of the configuration, or `other`",
    "key": "a key of the tenant's file",
    "algorithm": f"{', '.join(f'`{name}`' for name in sorted(Algorithm))}, or `other`",
    "reason": "digests and jobs: an error code (`sigmill explain CODE`); returned jobs also: `drain`; "
    "lanes: the PKCS#11 name of the fault, `exit_N`, `signal_N`, `disconnected`, `unreachable`",
    "outcome": "jobs: `done`, `fenced`, or a reason; rate limiter: `granted`, `rate`, `budget`, `hard_cap`; "
    "canaries: `ok`, or a reason; grants: `issued`, `checked` (`sigmill login`), or the kind of refusal, `replayed` for a token of another key; directories and reloads: the result; connections: `answered`, `refused` (no HTTP, or too "
    "long), `left` (closed by the peer), `timed_out`, `replaced` (by a newer one), `failed`; requests to a relay: as their metric says",
    "provider": "the issuer: a provider of tokens or an authority of certificates of its file, or `unknown`",
    "issuer": "an issuer of the tenant's file, or `other`",
    "operation": "`claim`, `extend`, `commit`, `release`, `caps`, `survey`, …: the operation that failed",
    "event": "`extended`, `lost`",
    "state": "`ready`, `leased`",
    "class": "`interactive`, `standard`, `bulk`: `class` of the tenant's file",
    "result": "jobs: `good`, `bad`; changed certificate files: `adopted`, `refused`",
    "endpoint": "last part of the path of a relay (`jobs`, `results`, …), or `none` for unknown ones",
    "status": "`accepted`, `queued`, `done`, `conflict`, `refused`",
    "cause": ", ".join(f"`{cause}`" for cause in SHED_CAUSES),
    "source": "`stock_queue`: arq's own keys",
    "process": "`worker`, `exporter`, `issuer`, `relay`",
    "version": "version of Sigmill",
    "python": "version of Python",
}


def page() -> str:
    """Text of the page in Markdown."""
    inherited = {attribute for attribute, _ in ProcessMetrics.declarations()}
    of_both = {attribute for attribute, _ in HttpsMetrics.declarations()}
    parts = [
        _HEAD,
        _section("Metrics of workers", WorkerMetrics, inherited),
        _section("Metrics of the exporter", QueueMetrics, inherited),
        _section("Metrics of the issuer", IssuerMetrics, of_both),
        _section("Metrics of the relay", RelayMetrics, of_both),
        _section("Metrics of issuer and relay", HttpsMetrics, inherited),
        _section("Metrics of each of them", ProcessMetrics, set()),
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
