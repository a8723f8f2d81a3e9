"""Exporter of queue metrics: a survey of all queues per interval, as gauges for the whole cluster.

Workers do not export these: each worker would export the same values, and sums would count them once per worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from cryptography import x509

from queueing.broker.queue_stats import QueueState, read_queue_stats, redis_state
from queueing.errors import ConfigError, QueueUnavailable
from queueing.unix_time import unix_ms
from workers.config.loading import load_configuration, tenant_files
from workers.telemetry.series_budget import MOST_RANKED, OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from redis.asyncio import Redis

    from queueing.protocol.limits import PublishedCaps
    from workers.config.issuers.issuers import TenantIssuer
    from workers.config.loading import Configuration
    from workers.config.tenants import KeyVersion, Tenant, TenantClient
    from workers.telemetry.metrics_catalogue import QueueMetrics
    from workers.telemetry.series_budget import Ranked

    _Values = dict[tuple[str, ...], float]

log = logging.getLogger("sigmill.exporter")

_MS_PER_S: Final = 1000.0
_MISSED: Final = 3
"""Consecutive failed surveys after which the process is not ready."""

_PATIENCE_S: Final = 5.0
"""Time that a survey may take beyond its interval; one of a thousand tenants takes a tenth of it."""


class QueueExporter:
    """Exporter that updates ``metrics``. ``redis`` belongs to the caller."""

    def __init__(self, configuration: Configuration, *, redis: Redis, metrics: QueueMetrics) -> None:
        self._configuration = configuration
        self._redis = redis
        self._metrics = metrics
        self._counted: dict[str, QueueState] = {}
        self._files = self._fingerprint()
        self._missed = _MISSED
        self._run_id: str | None = None
        self._loop_seen_at = time.monotonic()
        metrics.tenants.set(len(configuration.tenants))

    @property
    def alive(self) -> bool:
        """Whether the event loop has begun a survey lately."""
        silent_s = _PATIENCE_S + _MISSED * self._configuration.service.exporter.interval_s
        return time.monotonic() - self._loop_seen_at < silent_s

    @property
    def ready(self) -> bool:
        """Whether one of the last three surveys succeeded."""
        return self._missed < _MISSED

    async def run(self) -> None:
        """Survey the queues until cancelled; errors of Redis are counted and logged."""
        interval_s = self._configuration.service.exporter.interval_s
        while True:
            began = time.monotonic()
            await self.survey_once()
            await asyncio.sleep(max(interval_s - (time.monotonic() - began), interval_s / 10))

    async def survey_once(self) -> None:
        """Survey all queues once."""
        self._loop_seen_at = began = time.monotonic()
        await self._reload_if_changed()
        try:
            server = await redis_state(self._redis)
            states = await read_queue_stats(self._redis, list(self._configuration.tenants))
        except QueueUnavailable as error:
            self._missed += 1
            self._metrics.redis_up.set(0)
            self._metrics.redis_errors.labels("survey").inc()
            log.warning("redis.failed", extra={"operation": "survey", "why": str(error)})
            return
        self._missed = 0
        metrics = self._metrics
        metrics.redis_up.set(1)
        metrics.redis_memory_used_bytes.set(server.memory_used_bytes)
        metrics.redis_memory_limit_bytes.set(server.memory_limit_bytes)
        if self._run_id not in {None, server.run_id}:
            metrics.redis_restarts.inc()
        self._run_id = server.run_id
        self._show(states)
        self._count(states)
        self._show_expiries()
        metrics.survey_timestamp_seconds.set(time.time())
        metrics.survey_seconds.observe(time.monotonic() - began)

    async def _reload_if_changed(self) -> None:
        """Reload the configuration when one of its files has changed; an invalid one leaves the old in force."""
        files = await asyncio.to_thread(self._fingerprint)
        if files == self._files:
            return
        self._files = files
        try:
            configuration = await asyncio.to_thread(load_configuration, self._configuration.service.file)
        except Exception as error:  # noqa: BLE001 - whatever a file holds, it does not end the exporter
            self._metrics.config_reloads.labels("refused").inc()
            why = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error!s:.200}"
            log.error("config.refused", extra={"why": why})
            return
        self._configuration = configuration
        self._metrics.config_reloads.labels("adopted").inc()
        self._metrics.tenants.set(len(configuration.tenants))

    def _fingerprint(self) -> frozenset[tuple[str, int]]:
        service = self._configuration.service
        try:
            return frozenset(
                (str(file), file.stat().st_mtime_ns) for file in (service.file, *tenant_files(service))
            )
        except (OSError, ConfigError):
            return frozenset()  # files are being replaced; the next survey checks again

    def _show(self, states: Mapping[str, QueueState]) -> None:
        """Show tenants with the oldest backlog by name, the others under ``other``, and idle tenants not at all."""
        metrics, tenants = self._metrics, self._configuration.tenants
        busy = {name: state for name, state in states.items() if state.ready or state.leased or state.digests}
        order = sorted(busy, key=lambda name: (busy[name].age_s, busy[name].digests), reverse=True)
        ready = _named(order, {name: state.ready for name, state in busy.items()}, sum)
        leased = _named(order, {name: state.leased for name, state in busy.items()}, sum)
        by_state = {(*name, "ready"): value for name, value in ready.items()}
        metrics.queue_jobs.show(by_state | {(*name, "leased"): value for name, value in leased.items()})
        metrics.backlog.show(_named(order, {name: state.digests for name, state in busy.items()}, sum))
        metrics.backlog_age_seconds.show(
            _named(order, {name: state.age_s for name, state in busy.items()}, max)
        )
        caps = {name: tenants[name].limits.caps for name in states}
        _show_lowest(
            metrics.backlog_room,
            {
                (name,): max(cap - s.digests, 0)
                for name, s in busy.items()
                if (cap := caps[name].backlog_digests)
            },
        )
        _show_lowest(
            metrics.budget_left,
            {
                (name,): max(cap - s.spent, 0)
                for name, s in states.items()
                if (cap := caps[name].budget_digests)
            },
        )
        dead = {name: state.dead for name, state in states.items() if state.dead}
        metrics.dead_letters.show(_named(sorted(dead, key=lambda name: dead[name], reverse=True), dead, sum))
        astray = [name for name, state in states.items() if _is_tighter(state, caps[name])]
        metrics.limits_astray.show({(name,): 1.0 for name in astray[:MOST_RANKED]})

    def _count(self, states: Mapping[str, QueueState]) -> None:
        """Count digests accepted and submits refused since the last survey; a counter in Redis may have been reset."""
        for name, state in states.items():
            before = self._counted.get(name)
            if not state.accepted_digests and not state.refused:
                continue  # tenants that never submit get no series
            submitted, refused = self._metrics.submitted.labels(name), self._metrics.refused.labels(name)
            if before is not None:
                submitted.inc(max(state.accepted_digests - before.accepted_digests, 0))
                refused.inc(max(state.refused - before.refused, 0))
        self._counted = dict(states)

    def _show_expiries(self) -> None:
        tenants = [tenant for tenant in self._configuration.tenants.values() if not tenant.suspended]
        now_ms = unix_ms()
        keys: _Values = {
            (tenant.name, key.name): min(ends)
            for tenant in tenants
            for key in tenant.keys.values()
            if (ends := [end for version in key.versions for end in _expiries(version, now_ms)])
        }
        clients: _Values = {
            (tenant.name,): min(alive)
            for tenant in tenants
            if (alive := [c.expires_at_ms / _MS_PER_S for c in _signers(tenant) if not c.revoked])
        }
        _show_lowest(self._metrics.certificate_expiry, keys)
        _show_lowest(self._metrics.client_expiry, clients)


def _signers(tenant: Tenant) -> Iterator[TenantClient | TenantIssuer]:
    """Clients, and issuers of grants: without either of them builds cannot sign."""
    yield from tenant.clients.values()
    yield from tenant.issuers.values()


def _named(
    order: Sequence[str], values: Mapping[str, float], together: Callable[[Iterable[float]], float]
) -> _Values:
    """Values of the first tenants of the order by name, and the others combined."""
    shown: _Values = {(name,): float(values[name]) for name in order[:MOST_RANKED]}
    if rest := order[MOST_RANKED:]:
        shown[OTHER,] = float(together(values[name] for name in rest))
    return shown


def _show_lowest(gauge: Ranked, values: _Values) -> None:
    """Show the lowest values by name; others are left out."""
    gauge.show(dict(sorted(values.items(), key=lambda item: item[1])[:MOST_RANKED]))


def _expiries(version: KeyVersion, now_ms: int) -> list[float]:
    """Expiries of a version that signs, or waits to, and of every certificate in its chains."""
    if version.state_at(now_ms) not in {"next", "active"}:
        return []
    ends = [] if version.expires_at_ms is None else [version.expires_at_ms / _MS_PER_S]
    chains = (version.certificates, *version.chains.values())
    certificates = (x509.load_der_x509_certificate(raw) for chain in chains for raw in chain)
    return ends + [certificate.not_valid_after_utc.timestamp() for certificate in certificates]


def _is_tighter(state: QueueState, caps: PublishedCaps) -> bool:
    """Whether a cap in Redis is lower than the configured one; 0 is no cap."""
    if state.caps is None:
        return False
    ours = (caps.backlog_digests, caps.backlog_bytes, caps.budget_digests)
    return any(theirs and (not own or theirs < own) for theirs, own in zip(state.caps, ours, strict=True))
