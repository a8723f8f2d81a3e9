"""Metrics of lanes: lane processes, chunks and circuit breakers, counted per token."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from workers.lanes.supervisor.circuit_breaker import Circuit
from workers.telemetry.metrics import algorithm_label
from workers.telemetry.series_budget import OTHER, put

if TYPE_CHECKING:
    from workers.lanes.protocol import Outcomes
    from workers.lanes.supervisor.connection import ChunkSent
    from workers.telemetry.metrics_catalogue import WorkerMetrics

log = logging.getLogger("sigmill.lanes")

MOST_REASONS: Final = 64
"""Reasons with a series of their own: a lane names its failure itself, and may name another one each time."""

_CIRCUIT_VALUES = {Circuit.CLOSED: 0, Circuit.OPEN: 1, Circuit.REFUSED: 2}


class LaneObserver(Protocol):
    """Receiver of the events of a token's lanes. ``LaneMetrics`` counts them."""

    def lane_started(self, token: str, sessions: int) -> None:
        """A lane has logged in with so many sessions."""

    def lane_ended(self, token: str, sessions: int, reason: str | None) -> None:
        """A lane that had logged in has exited; ``reason`` is None if it was told to stop."""

    def lane_failed(self, token: str, reason: str) -> None:
        """A lane exited before it had logged in, or could not be reached."""

    def chunk_done(self, token: str, chunk: ChunkSent, answer: Outcomes, seconds: float) -> None:
        """A lane answered a chunk; it was busy with it for ``seconds``."""

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        """The circuit breaker of the token changed its state."""

    def keys_missing(self, token: str, count: int) -> None:
        """``count`` keys were not found in the token when each was last looked for."""


class LaneMetrics:
    """Counts the events of lanes in the worker's metrics."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._reasons: set[str] = set()

    def lane_started(self, token: str, sessions: int) -> None:
        """Count a lane that has logged in, and its sessions."""
        self._metrics.lanes.labels(token).inc()
        self._metrics.sessions.labels(token).inc(sessions)

    def lane_ended(self, token: str, sessions: int, reason: str | None) -> None:
        """Remove a lane from the gauges; with a reason it also counts as a restart."""
        self._metrics.lanes.labels(token).dec()
        self._metrics.sessions.labels(token).dec(sessions)
        if reason is not None:
            self._metrics.lane_restarts.labels(token, self._reason_label(reason)).inc()

    def lane_failed(self, token: str, reason: str) -> None:
        """Count a lane that never logged in as a restart; it was in no gauge."""
        self._metrics.lane_restarts.labels(token, self._reason_label(reason)).inc()

    def _reason_label(self, reason: str) -> str:
        if reason not in self._reasons:
            if len(self._reasons) >= MOST_REASONS:
                return OTHER
            self._reasons.add(reason)
        return reason

    def chunk_done(self, token: str, chunk: ChunkSent, answer: Outcomes, seconds: float) -> None:
        """Observe a chunk with the times that the lane measured itself."""
        metrics = self._metrics
        metrics.lane_seconds.labels(token).observe(seconds)
        metrics.chunk_digests.labels(token).observe(chunk.digests)
        metrics.module_seconds.labels(token).inc(answer.sign_s)
        signed = sum([len(item.signatures) - len(item.errors) for item in answer.items])
        if signed:
            algorithm = algorithm_label(chunk.group.algorithm)
            metrics.sign_seconds.labels(algorithm).observe(answer.sign_s / signed)
            if answer.verify_s:
                metrics.verify_seconds.labels(algorithm).observe(answer.verify_s / signed)

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        """Set the gauge of the token's circuit breaker: 0 closed, 1 open, 2 PIN refused."""
        put(self._metrics.circuit_open, token, _CIRCUIT_VALUES[circuit])

    def keys_missing(self, token: str, count: int) -> None:
        """Set the gauge of keys that the token's lanes do not find."""
        put(self._metrics.key_missing, token, count)

    def token_drained(self, token: str, *, drained: bool) -> None:
        """Set the gauge of a token that an operator drained or resumed."""
        put(self._metrics.token_drained, token, drained)


class MissingKeys:
    """Keys of a token that its lanes looked for last without finding them."""

    def __init__(self, token: str, tenant: str | None, observer: LaneObserver) -> None:
        self._names = {"token": token, "tenant": tenant}
        self._token = token
        self._observer = observer
        self._keys: set[tuple[str, int]] = set()

    def record(self, key: str, version: int, *, found: bool) -> None:
        """Record whether a lane found the key; a change is logged and counted."""
        if found is ((key, version) not in self._keys):
            return
        (self._keys.discard if found else self._keys.add)((key, version))
        extra = {**self._names, "key": key, "version": version}
        if found:
            log.info("key.found", extra=extra)
        else:
            log.error("key.missing", extra=extra)
        self._observer.keys_missing(self._token, len(self._keys))

    def clear(self) -> None:
        """Forget all: the token is another one from now on."""
        self._keys.clear()
        self._observer.keys_missing(self._token, 0)
