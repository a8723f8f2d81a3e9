"""Foreign keys that claims remove are all counted, and logged no more often than once a minute for a tenant."""

from __future__ import annotations

import types

import pytest
from prometheus_client import CollectorRegistry

from workers.intake.replaced_keys import REPORT_S, ReplacedKeys
from workers.telemetry.metrics import Metrics


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[object, object]]:
    return [(vars(record)["tenant"], vars(record)["keys"]) for record in caplog.records]


def test_a_flood_of_foreign_keys_leaves_counters_and_a_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next line has what came since the line before; a neighbour has lines of its own."""
    now_s = [1000.0]
    registry = CollectorRegistry()
    monkeypatch.setattr(
        "workers.intake.replaced_keys.time", types.SimpleNamespace(monotonic=lambda: now_s[0])
    )
    replaced = ReplacedKeys(Metrics(registry))
    for _ in range(500):
        replaced.add("acme", 256)
        now_s[0] += 0.1
    replaced.add("globex", 1)
    replaced.add("initech", 0)
    assert logged(caplog) == [("acme", 256), ("globex", 1)]
    now_s[0] = 1000.0 + REPORT_S
    replaced.add("acme", 1)
    assert logged(caplog)[2:] == [("acme", 499 * 256 + 1)]
    counted = registry.get_sample_value("sigmill_redis_keys_replaced_total", {"tenant": "acme"})
    assert counted == 500 * 256 + 1
    assert registry.get_sample_value("sigmill_redis_keys_replaced_total", {"tenant": "initech"}) is None
