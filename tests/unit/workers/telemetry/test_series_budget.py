"""The time series of a process are bounded, whatever tenants there are and whatever they send."""

from __future__ import annotations

from itertools import product

from prometheus_client import CollectorRegistry, generate_latest

from queueing.errors import RESULT_REASONS
from queueing.protocol.algorithms import Algorithm
from workers.lanes.supervisor.circuit_breaker import Circuit
from workers.lanes.supervisor.lane_metrics import LaneMetrics
from workers.telemetry.metrics import Metrics, process_registry
from workers.telemetry.series_budget import MOST_NAMED_SERIES, MOST_RANKED, OTHER, Ranked


def series(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def use_all(metrics: Metrics, tenant: str) -> None:
    """Everything that a busy tenant with a token of its name brings about."""
    for reason in ("done", "policy.denied", "job.expired"):
        metrics.jobs.labels(tenant, reason).inc()
    metrics.signatures.labels(tenant, "ECDSA_SHA_256").inc()
    metrics.job_seconds.labels(tenant).observe(1.0)
    metrics.waited({tenant: [1.0]})
    LaneMetrics(metrics).lane_started(tenant, 2)
    metrics.watch_sessions(tenant, lambda: 1.0)
    metrics.lane_seconds.labels(tenant).observe(1.0)
    metrics.chunk_digests.labels(tenant).observe(1)
    LaneMetrics(metrics).circuit_changed(tenant, Circuit.OPEN)


def test_thousands_of_busy_tenants_stay_below_two_thousand_series() -> None:
    """The first have names, the rest are counted together; nothing is lost from the sum."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for i in range(5000):
        use_all(metrics, f"tenant-{i}")
    lines = series(registry)
    assert len(lines) < 2000
    signed = [line for line in lines if line.startswith("sigmill_signatures_total")]
    assert sum(float(line.rpartition(" ")[2]) for line in signed) == 5000
    assert any(f'tenant="{OTHER}"' in line for line in signed)
    assert any('tenant="tenant-0"' in line for line in signed)


def test_a_tenant_that_is_refused_for_everything_leaves_series_for_others() -> None:
    """It chooses algorithm and reason by its input: what it may name is bounded for itself."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for i in range(40):
        for algorithm in (*Algorithm, OTHER):
            for reason in RESULT_REASONS:
                metrics.failures.labels(f"hostile-{i}", algorithm, reason).inc()
    assert len(series(registry)) < 2000
    metrics = Metrics(registry := CollectorRegistry())
    for algorithm in (*Algorithm, OTHER):
        for reason in RESULT_REASONS:
            metrics.failures.labels("hostile", algorithm, reason).inc()
    use_all(metrics, "good")
    assert any('tenant="good"' in line for line in series(registry))


def test_the_same_labels_are_the_same_child() -> None:
    """A removal hits the series to which the amount was added, also after the names ran out."""
    metrics = Metrics(CollectorRegistry())
    for i in range(300):
        use_all(metrics, f"tenant-{i}")
    for token in ("tenant-0", "tenant-299"):
        before = metrics.lanes.labels(token)._value.get()
        LaneMetrics(metrics).lane_ended(token, 2, None)
        assert metrics.lanes.labels(token)._value.get() == before - 1


def test_every_metric_of_hundreds_of_owners_stays_below_two_thousand_series() -> None:
    """All that is declared, with every value of its closed labels for as many tenants, tokens and keys as there may be."""
    closed = {
        "algorithm": [*Algorithm, OTHER],
        "reason": [*RESULT_REASONS, OTHER],
        "outcome": ["done", "fenced", "granted", "rate", "budget", "hard_cap"],
        "issuer": ["ci", "another", OTHER],
        "event": ["extended", "lost"],
        "class": ["interactive", "standard", "bulk"],
        "result": ["good", "bad"],
        "operation": ["claim", "extend", "commit", "release", "caps", "orders"],
        "source": ["stock_queue"],
        "process": ["worker"],
        "version": ["1"],
        "python": ["3"],
    }
    registry = process_registry()
    metrics = Metrics(registry)
    for i in range(400):
        owners = {"tenant": f"tenant-{i}", "token": f"token-{i}"}
        for attribute, declared in Metrics.declarations():
            metric, labels = getattr(metrics, attribute), declared.facts.labels
            if isinstance(metric, Ranked):
                metric.show({(f"token-{n}",): 1.0 for n in range(min(i + 1, MOST_RANKED))})
            elif labels:
                for values in product(
                    *([owners[name]] if name in owners else closed[name] for name in labels)
                ):
                    metric.labels(*values)
    assert 1500 < len(series(registry)) < 2000


def test_while_all_have_names_there_is_no_other() -> None:
    """Operators would ask about a gauge that is 0 for ``other``."""
    registry = CollectorRegistry()
    use_all(Metrics(registry), "acme")
    assert not [line for line in series(registry) if f'"{OTHER}"' in line]


def test_names_beside_the_owner_go_to_other_with_it() -> None:
    """A thousand tenants have thousands of issuers' names in their files: they are one series, by outcome."""
    metrics = Metrics(registry := process_registry())
    for i in range(3000):
        metrics.grant_jobs.labels(f"tenant-{i}", f"ci-{i}", "done").inc()
    samples = {
        sample.labels["issuer"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "sigmill_grant_jobs_total"
    }
    assert len(samples) <= MOST_NAMED_SERIES + 1
    assert sum(samples.values()) == 3000
    assert samples[OTHER] == 3001 - len(samples)
