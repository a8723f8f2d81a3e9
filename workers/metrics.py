"""Every metric of the worker, declared in one place. Base units, closed label sets, nothing of a single job.

Tenants, keys and tokens in labels come from the configuration; reasons from the closed set of
``queueing.errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from queueing.algorithms import Algorithm
from queueing.errors import BY_REASON
from workers.series import OTHER, Bounded, SeriesBudget, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from queueing.claims import Claimed
    from queueing.limits import ClaimLimits
    from workers.lanes.circuit import Circuit
    from workers.lanes.link import ChunkSent

disable_created_metrics()  # type: ignore[no-untyped-call]

LATENCY_BOUNDS_S: Final = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    120.0,
    600.0,
)
"""From one idle round trip to an outage; 0.2 s and 2 s stand for objectives."""

SYNC_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
CHUNK_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_BESIDE_BUCKETS: Final = 3
"""``+Inf``, sum and count of a histogram."""


class Metrics:
    """The worker's metrics in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        budget = SeriesBudget()

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"sigmill_{name}", help_text, labels, registry=registry)

        def gauge(name: str, help_text: str) -> Gauge:
            return Gauge(f"sigmill_{name}", help_text, registry=registry)

        def counter_of(name: str, help_text: str, *labels: str) -> Bounded[Counter]:
            return Bounded(counter(name, help_text, *labels), budget, kind=labels[0])

        def gauge_of(name: str, help_text: str, owner: str) -> Bounded[Gauge]:
            metric = Gauge(f"sigmill_{name}", help_text, (owner,), registry=registry)
            return Bounded(metric, budget, kind=owner)

        def histogram_of(
            name: str, help_text: str, owner: str, bounds: tuple[float, ...] = LATENCY_BOUNDS_S
        ) -> Bounded[Histogram]:
            metric = Histogram(f"sigmill_{name}", help_text, (owner,), buckets=bounds, registry=registry)
            return Bounded(metric, budget, kind=owner, series=len(bounds) + _BESIDE_BUCKETS)

        self.signatures = counter_of("signatures", "Signatures released.", "tenant", "algorithm")
        self.failures = counter_of(
            "failures", "Digests that ended without a signature.", "tenant", "algorithm", "reason"
        )
        self.jobs = counter_of("jobs", "Jobs that ended, by what became of them.", "tenant", "outcome")
        self.returned = counter_of(
            "jobs_returned", "Jobs given back to the queue unsigned.", "tenant", "reason"
        )
        self.fenced = counter_of("commits_fenced", "Commits that another owner's lease refused.", "tenant")
        self.queue_wait_seconds = histogram_of("queue_wait_seconds", "From enqueued to claimed.", "tenant")
        self.limiter = counter_of(
            "limiter_decisions",
            "Digests that a tenant's limits let pass (granted), and claims that they held back, by limit.",
            "tenant",
            "outcome",
        )
        self.budget_left = gauge_of("budget_left_digests", "What is left of the day's budget.", "tenant")
        self.backlog = gauge_of("backlog_digests", "Accepted and not ended, in the whole cluster.", "tenant")
        self.backlog_room = gauge_of("backlog_room_digests", "What the backlog's cap leaves.", "tenant")
        self.keys_replaced = counter_of(
            "redis_keys_replaced", "Keys of ours that held a foreign type and were removed.", "tenant"
        )
        self.backlog_refusals = gauge_of(
            "backlog_refusals", "Envelopes refused at submit since the tenant's counter began.", "tenant"
        )
        self.lane_seconds = histogram_of(
            "lane_chunk_seconds", "From a chunk's turn in its lane to its answer.", "token"
        )
        self.job_seconds = histogram_of("job_seconds", "From enqueued to result published.", "tenant")
        self.chunk_digests = histogram_of("chunk_digests", "Digests in a chunk.", "token", CHUNK_BOUNDS)
        self.claimed_jobs = Histogram(
            "sigmill_claimed_jobs",
            "Jobs in a claim that was not empty.",
            buckets=CHUNK_BOUNDS,
            registry=registry,
        )
        self.sessions = gauge_of("sessions", "Sessions that are logged in.", "token")
        self.sessions_busy = gauge_of("sessions_busy", "Sessions that have something to sign.", "token")
        self.lanes = gauge_of("lanes", "Lanes that are logged in.", "token")
        self.lane_restarts = counter_of(
            "lane_restarts", "Lanes that ended without being asked, or never came to be.", "token", "reason"
        )
        self.circuit_open = gauge_of(
            "token_circuit_open", "1 while the token is left alone (2: a PIN was refused).", "token"
        )
        self.in_flight = gauge("jobs_in_flight", "Jobs that this worker has leased.")
        self.redis_errors = counter("redis_errors", "Round trips to Redis that failed.", "operation")
        self.log_sync_seconds = Histogram(
            "sigmill_log_sync_seconds",
            "Write and sync of the write-ahead log.",
            buckets=SYNC_BOUNDS_S,
            registry=registry,
        )
        self.log_failing = gauge("log_failing", "1 while the write-ahead log cannot be written.")
        self.directories = counter("directories_published", "Key directories published.", "outcome")
        self.config_reloads = counter("config_reloads", "Reloads of the configuration.", "outcome")
        self.orders = gauge("stop_orders", "Stop orders known, lifted ones included.")
        self.orders_refused = counter(
            "stop_orders_refused", "Stop orders that no operator of ours signed for this cluster.", "reason"
        )
        self.tenants = gauge("tenants", "Tenants in the configuration.")

    def watch_sessions(self, token: str, busy: Callable[[], float]) -> None:
        """Ask ``busy`` at each scrape; it is called by the exporter's thread and only reads."""
        child = self.sessions_busy.labels(token)
        if child is not self.sessions_busy.labels(OTHER):  # the others' have no one value
            child.set_function(busy)

    def waited(self, waits_s: Mapping[str, Iterable[float]]) -> None:
        """How long jobs waited in the queue, by tenant."""
        for tenant, waits in waits_s.items():
            observe = self.queue_wait_seconds.labels(tenant).observe
            for wait_s in waits:
                observe(wait_s)

    def limits_seen(self, tenant: str, limits: ClaimLimits, answer: Claimed) -> None:
        """What a claim said about the tenant's limits."""
        idle = not (answer.jobs or answer.backlog_digests or answer.refused or answer.limited)
        if idle and not self.backlog.is_known(tenant):
            return  # thousands of tenants are asked for work, and few have some
        if limits.limited and answer.jobs:
            granted = sum([job.charged_digests for job in answer.jobs])
            self.limiter.labels(tenant, "granted").inc(granted)
        if answer.limited:
            self.limiter.labels(tenant, answer.limited).inc()
        if answer.budget_left is not None:
            put(self.budget_left, tenant, answer.budget_left)
        put(self.backlog, tenant, answer.backlog_digests)
        if limits.backlog_digests:
            room = max(limits.backlog_digests - answer.backlog_digests, 0)
            put(self.backlog_room, tenant, room)
        if answer.refused:
            put(self.backlog_refusals, tenant, answer.refused)

    def lane_started(self, token: str, sessions: int) -> None:
        """A lane has logged in."""
        self.lanes.labels(token).inc()
        self.sessions.labels(token).inc(sessions)

    def lane_ended(self, token: str, sessions: int, reason: str | None) -> None:
        """A lane is gone; with a reason it was not asked to."""
        self.lanes.labels(token).dec()
        self.sessions.labels(token).dec(sessions)
        if reason is not None:
            self.lane_restarts.labels(token, reason).inc()

    def lane_failed(self, token: str, reason: str) -> None:
        """A lane was lost, or could not be reached, before it had logged in."""
        self.lane_restarts.labels(token, reason).inc()

    def chunk_done(self, token: str, chunk: ChunkSent, seconds: float) -> None:
        """A lane answered a chunk."""
        self.lane_seconds.labels(token).observe(seconds)
        self.chunk_digests.labels(token).observe(chunk.digests)

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        """A token is left alone, or used again."""
        put(self.circuit_open, token, {"closed": 0, "open": 1, "refused": 2}[circuit.value])


def worker_registry() -> CollectorRegistry:
    """The registry of a worker process, with its CPU, memory and descriptors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def algorithm_label(name: str) -> str:
    """The algorithm as a label: whatever is not one of ours is ``other``."""
    return name if name in Algorithm.__members__ else OTHER


def reason_label(reason: str) -> str:
    """The reason as a label; the set is closed."""
    return reason if reason in BY_REASON else OTHER
