"""Readiness of a worker: the answer of ``/readyz``, of the metric ``ready`` and in the list of workers.

Seven conditions, all in ``Readiness.ready``: the log of the former process is recovered; the event loop runs; no shutdown
was requested; the last claim reached Redis; no commit waits for its replicas; the write-ahead log can be written; and one
lane at least is logged in, or was not tried yet (``LaneRegistry.healthy`` in ``workers/lanes/supervisor/registry.py``).
``workers/telemetry/http_server.py`` serves it. The exporter's ``/readyz`` is in ``workers/telemetry/queue_exporter.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.intake.claim_loop import ClaimLoop
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lifecycle.heartbeat import Heartbeat
    from workers.lifecycle.shutdown import ShutdownDeadline
    from workers.pipeline.result_publisher import ResultPublisher


class Readiness:
    """Readiness of the worker, for ``/readyz``, the metrics and the list of workers."""

    def __init__(
        self,
        *,
        heartbeat: Heartbeat,
        shutdown: ShutdownDeadline,
        claim_loop: ClaimLoop,
        publisher: ResultPublisher,
        wal: WriteAheadLog,
        lanes: LaneRegistry,
    ) -> None:
        self._heartbeat = heartbeat
        self._shutdown = shutdown
        self._claim_loop = claim_loop
        self._publisher = publisher
        self._wal = wal
        self._lanes = lanes
        self.started = False
        """Whether the log of the former process is recovered, and jobs are claimed."""

    @property
    def draining(self) -> bool:
        """Whether the worker is shutting down."""
        return self._shutdown.asked.is_set()

    @property
    def ready(self) -> bool:
        """Whether this process can claim and at least one lane can sign; no I/O, from any thread."""
        return (
            self.started
            and self._heartbeat.alive
            and not self.draining
            and self._claim_loop.redis_answers
            and not self._publisher.unconfirmed
            and not self._wal.failing
            and self._lanes.healthy
        )
