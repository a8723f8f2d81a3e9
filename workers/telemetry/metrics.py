"""Metrics of a worker, with the methods that set them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, get_args

from prometheus_client import CollectorRegistry, ProcessCollector

from queueing.errors import RESULT_REASONS
from queueing.protocol.algorithms import Algorithm
from workers.config.settings import TenantClass
from workers.record.exchange import FailureReason
from workers.telemetry.metrics_catalogue import ProcessMetrics, WorkerMetrics
from workers.telemetry.series_budget import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from queueing.broker.claims import ClaimedJob, ClaimResult
    from queueing.protocol.limits import ClaimLimits


class Metrics(WorkerMetrics):
    """Metrics of one worker, in its own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        for tenant_class in get_args(TenantClass):
            for result in (
                "good",
                "bad",
            ):  # starting at 0: rate() does not see the first increase of a new series
                self.objective_jobs.labels(tenant_class, result)

        for reason in get_args(FailureReason):  # for the same reason
            self.record_failures.labels(reason)

    def watch_sessions(self, token: str, busy: Callable[[], float]) -> None:
        """Read ``busy`` at each scrape, in the thread of the metrics server."""
        child = self.sessions_busy.own(token)
        if child is not None:  # tokens counted under `other` have no single value
            child.set_function(busy)

    def waited(self, waits_s: Mapping[str, Iterable[float]]) -> None:
        """Observe the times that jobs waited in the queue, by tenant."""
        for tenant, waits in waits_s.items():
            observe = self.queue_wait_seconds.labels(tenant).observe
            for wait_s in waits:
                observe(wait_s)

    def claimed(self, tenant: str, jobs: Iterable[ClaimedJob]) -> None:
        """Count the jobs of a claim and their digests, by the counts that were charged."""
        sizes = [job.charged_digests for job in jobs]
        if sizes:
            self.claimed_digests.labels(tenant).inc(sum(sizes))
            for digests in sizes:
                self.job_digests.observe(digests)

    def log_written(self, tenant: str, size_bytes: int) -> None:
        """Count bytes that a tenant's records have added to the log."""
        self.log_written_bytes.labels(tenant).inc(size_bytes)

    def limits_seen(self, tenant: str, limits: ClaimLimits, answer: ClaimResult) -> None:
        """Count the decisions of the tenant's limits at a claim."""
        if limits.limited and answer.jobs:
            granted = sum([job.charged_digests for job in answer.jobs])
            self.limiter.labels(tenant, "granted").inc(granted)
        if answer.limited:
            self.limiter.labels(tenant, answer.limited).inc()


def process_registry() -> CollectorRegistry:
    """Registry with CPU, memory and descriptors of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def say_build(metrics: ProcessMetrics, process: Literal["worker", "exporter", "issuer", "relay"]) -> None:
    """Set the build information of this process."""
    metrics.build_info.labels(process, version("sigmill"), platform.python_version()).set(1)


def algorithm_label(name: str) -> str:
    """Algorithm as a label; unknown names are ``other``."""
    return name if name in Algorithm.__members__ else OTHER


def reason_label(reason: str) -> str:
    """Reason as a label; unknown reasons are ``other``."""
    return reason if reason in RESULT_REASONS else OTHER
