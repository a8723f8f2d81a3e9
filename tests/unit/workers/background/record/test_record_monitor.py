"""Metrics of the record: counts continue over restarts of the sealer, and the lag grows while none runs."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry

from tests.support.fakes.configurations import current_config
from workers.background.record.record_monitor import RecordMonitor
from workers.record.exchange import SealerStatus
from workers.telemetry.metrics import Metrics

SECOND_NS = 1_000_000_000


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"sigmill_record_{name}", labels) or 0.0


def test_counts_of_a_restarted_sealer_are_added() -> None:
    """Its own counts begin at 0."""
    registry = CollectorRegistry()
    monitor = RecordMonitor(current_config(), Metrics(registry))
    first = SealerStatus(
        pid=1, started_ns=1, entries={"acme": 5}, checkpoints=2, failures={"io": 1}, scrubbed=7
    )
    monitor.show(first, SECOND_NS)
    monitor.show(first, SECOND_NS)
    second = SealerStatus(
        pid=2, started_ns=9, entries={"acme": 3, "globex": 1}, checkpoints=1, scrubbed=2, damage=("acme/x",)
    )
    monitor.show(second, SECOND_NS)
    assert value(registry, "entries_total", tenant="acme") == 8
    assert value(registry, "entries_total", tenant="globex") == 1
    assert value(registry, "checkpoints_total") == 3
    assert value(registry, "failures_total", reason="io") == 1
    assert value(registry, "scrubbed_entries_total") == 9
    assert value(registry, "damage") == 1


def test_the_lag_is_the_time_since_everything_was_covered() -> None:
    """Before that it is the age of the sealer; without any it is the age of the worker."""
    registry = CollectorRegistry()
    monitor = RecordMonitor(current_config(), Metrics(registry))
    monitor.show(SealerStatus(pid=1, started_ns=SECOND_NS), 5 * SECOND_NS)
    assert value(registry, "lag_seconds") == 4
    monitor.show(SealerStatus(pid=1, started_ns=SECOND_NS, covered_ns=3 * SECOND_NS), 5 * SECOND_NS)
    assert value(registry, "lag_seconds") == 2
    monitor.show(None, time.monotonic_ns() + 40 * SECOND_NS)
    assert 40 <= value(registry, "lag_seconds") < 200
