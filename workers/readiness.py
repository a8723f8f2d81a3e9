"""Readiness of a worker: the answer of ``/readyz``, of the metric ``ready`` and in the list of workers.

Seven conditions, all in ``Readiness.ready``:

1. the log of the former process is recovered;
2. the event loop runs;
3. no shutdown was requested;
4. Redis answered the last claim, replicas confirmed some of it where they are asked, and it has not refused the claims of all
   tenants for three slow polls (``ClaimLoop.redis_answers``);
5. no commit waits for its replicas;
6. the write-ahead log can be written;
7. a token can sign, as far as is known (``LaneRegistry.healthy``). A token is in doubt for 60 s after its last use failed, and
   while its PIN is refused; drained ones do not count. Enough is one of these: a used token that is not in doubt; no
   token used yet and none drained; used tokens of one tenant at most, and another tenant with a token that is not drained.

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
        """Whether all seven conditions hold; no I/O, from any thread."""
        return (
            self.started
            and self._heartbeat.alive
            and not self.draining
            and self._claim_loop.redis_answers
            and not self._publisher.unconfirmed
            and not self._wal.failing
            and self._lanes.healthy
        )
