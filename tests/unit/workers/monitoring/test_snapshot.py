"""Snapshot of a cluster: its metrics exist, and absent ones are None."""

from __future__ import annotations

from workers.monitoring.samples import ByLabels
from workers.monitoring.snapshot import snapshot_of
from workers.telemetry.metrics_catalogue import QueueMetrics, WorkerMetrics


class Empty:
    """Metrics source without any series."""

    window_s = 1.0

    def values(self, name: str, *by: str) -> ByLabels:
        return {}

    rates = maxima = values

    def quantiles(self, name: str, q: float, *by: str) -> ByLabels:
        return {}


def test_a_source_without_metrics_has_no_numbers_of_the_queue() -> None:
    """Without an exporter the backlog is unknown, not 0; rates of no worker are 0."""
    snapshot = snapshot_of(Empty(), ("worker-1 does not answer",))
    assert (snapshot.tenants, snapshot.tokens, snapshot.workers) == ((), (), ())
    assert (snapshot.total.backlog_digests, snapshot.total.redis_up) == (None, None)
    assert snapshot.total.signatures_per_s == 0.0
    assert snapshot.problems == ("worker-1 does not answer",)


def test_totals_of_tenants_are_the_sums_of_their_rows() -> None:
    """Also where the source has counted more between two answers."""

    class Counting(Empty):
        answers = 0.0

        def values(self, name: str, *by: str) -> ByLabels:
            self.answers = self.answers + 1.0
            names = ("acme", "globex") if by == ("tenant",) else ("x",) * min(1, len(by))
            return {(each,): self.answers for each in names} if by else {(): self.answers}

        def rates(self, name: str, *by: str) -> ByLabels:
            return {} if len(by) > 1 else self.values(name, *by)

        maxima = values

    snapshot = snapshot_of(Counting())

    first, second = snapshot.tenants
    total = snapshot.total
    assert total.signatures_per_s == first.signatures_per_s + second.signatures_per_s > 0
    assert total.backlog_digests == (first.backlog_digests or 0) + (second.backlog_digests or 0) > 0
    assert total.dead_letters == (first.dead_letters or 0) + (second.dead_letters or 0) > 0


def test_every_name_that_is_shown_is_a_metric_of_the_catalogue() -> None:
    """The snapshot names metrics as text: each is declared, with the requested labels."""
    requested: dict[str, set[str]] = {}

    class Recorder:
        window_s = 1.0

        def rates(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
            return self.values(name, *by)

        maxima = rates

        def quantiles(self, name: str, q: float, *by: str) -> dict[tuple[str, ...], float]:
            return self.values(name, *by)

        def values(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
            requested.setdefault(name, set()).update(by)
            return {tuple("x" for _ in by): 1.0}

    snapshot = snapshot_of(Recorder())
    assert [row.tenant for row in snapshot.tenants] == ["x"]
    known = {
        declared.facts.exposed_name: set(declared.facts.labels)
        for table in (WorkerMetrics, QueueMetrics)
        for _, declared in table.declarations()
    }
    for name, labels in requested.items():
        base = name.removesuffix("_count").removesuffix("_sum") if name not in known else name
        assert labels - {"instance"} <= known[base], name
    assert len(requested) > 20
