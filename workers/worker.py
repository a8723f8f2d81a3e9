"""arq's worker, which also runs the signing service.

Without a signing configuration it behaves as ``arq.Worker`` does. With one, ordinary functions, cron jobs and hooks
keep working on arq's own queue, signing jobs take the bulk path on their tenants' queues, and no error of Redis ends
the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
from typing import TYPE_CHECKING, Any

from arq.jobs import serialize_result
from arq.worker import JobExecutionFailed, Worker, func

from queueing.aio.owned_tasks import end_tasks
from queueing.broker.stock_queue import StockQueue
from queueing.errors import ConfigError, FunctionUnknown
from queueing.protocol.jobs import FUNCTION, deserialize, serialize
from queueing.redis.connection import connect
from queueing.redis.errors import REDIS_ERRORS, is_foreign_value
from queueing.redis.faults import reason_of
from queueing.unix_time import unix_ms
from workers.composition.service import build_service
from workers.lifecycle.shutdown import HURRY_S, end_process_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from workers.config.loading import Configuration
    from workers.config.snapshots import ConfigurationFiles
    from workers.service import SigningService
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.worker")

DOORBELL_WAIT_S = 15.0
"""Longest silence of the doorbells' connection; it is pinged every 10 s."""

RESTART_PAUSE_S = 1.0
"""Pause before arq's loop starts again after an error of Redis: an outage costs one try a second."""

CLOSE_S = 0.5
"""Longest time for arq's last commands to Redis, which may be away: its health check expires."""


async def _misdirected(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """Refuse a signing job on arq's own queue: it has no tenant."""
    raise FunctionUnknown("signing jobs go to their tenant's queue, sigmill:{TENANT}:queue")


def _refuse_ordinary_jobs(
    signing: Configuration, functions: Sequence[Any], arq_arguments: Mapping[str, Any]
) -> None:
    """Raise ``ConfigError`` for functions or cron jobs of arq's own: their keys have no common hash slot."""
    if functions or arq_arguments.get("cron_jobs"):
        raise ConfigError(
            str(signing.service.file),
            "redis.cluster",
            "a Redis Cluster has no transactions over its slots, which arq's own functions and cron jobs need",
            "Run these in a worker of their own, on a Redis that is no cluster.",
        )


class SigningWorker(Worker):
    """``arq.Worker`` with three more arguments: ``signing``, ``metrics`` (needed with it) and ``files``.

    ``files`` are those from which ``signing`` was read; SIGHUP reloads them. In a Redis Cluster it serves the tenants' queues
    only, and arq's own queue and hooks not at all.
    """

    def __init__(
        self,
        functions: Sequence[Any] = (),
        *,
        signing: Configuration | None = None,
        metrics: Metrics | None = None,
        files: ConfigurationFiles | None = None,
        **arq_arguments: Any,
    ) -> None:
        self._service: SigningService | None = None
        self._opened = False
        self._metrics = metrics
        self._in_cluster = signing is not None and signing.service.redis.cluster is not None
        if signing is not None:
            if metrics is None:
                raise ValueError("a signing worker needs its metrics")
            if self._in_cluster:
                _refuse_ordinary_jobs(signing, functions, arq_arguments)
            functions = (*functions, func(_misdirected, name=FUNCTION))
            arq_arguments.setdefault("redis_pool", connect(signing.service.redis))
            arq_arguments.setdefault("job_serializer", serialize)
            arq_arguments.setdefault("job_deserializer", deserialize)
        super().__init__(functions, **arq_arguments)
        if signing is not None and metrics is not None:
            self._doorbells = connect(signing.service.redis, blocking_s=DOORBELL_WAIT_S)
            self._service = build_service(
                signing, redis=self.pool, doorbells=self._doorbells, metrics=metrics, files=files
            )

    # arq reads the names of its settings off this signature (arq.worker.get_kwargs).
    __signature__ = inspect.Signature(
        [
            *inspect.signature(Worker).parameters.values(),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
                for name in ("signing", "metrics", "files")
            ),
        ]
    )

    @property
    def service(self) -> SigningService | None:
        """The signing service; None without a signing configuration."""
        return self._service

    def open(self) -> None:
        """Take the state directory, once; ``main`` does it if the caller has not. Raises ``ConfigError``."""
        if self._service is not None and not self._opened:
            self._service.open()
            self._opened = True

    async def main(self) -> None:
        """Run arq's loop alone, or together with the signing service until that is drained."""
        if self._service is None:
            await super().main()
            return
        self.open()
        self.loop.add_signal_handler(signal.SIGHUP, self._service.reload)
        if self._in_cluster:
            await self._service.run()
            return
        async with asyncio.TaskGroup() as tasks:
            ordinary = tasks.create_task(self._ordinary_jobs())
            await self._service.run()
            await end_tasks([ordinary])

    async def _ordinary_jobs(self) -> None:
        """Run arq's own loop; start it again whenever an error of Redis ends it."""
        while True:
            try:
                await super().main()
            except REDIS_ERRORS as error:
                log.warning("arq.interrupted", extra={"why": reason_of(error), "error": type(error).__name__})
                if is_foreign_value(error):
                    await self._remove_foreign_keys()
                await asyncio.sleep(RESTART_PAUSE_S)

    async def _remove_foreign_keys(self) -> None:
        with contextlib.suppress(*REDIS_ERRORS):  # then the next start of the loop fails, and removes them
            removed = await StockQueue(self.pool, self.queue_name).remove_foreign_keys()
            self._count_damage(removed, "a key of arq had a foreign type")

    async def _poll_iteration(self) -> None:
        """Poll arq's queue once; with a signing service only an error of Redis ends the loop."""
        try:
            await super()._poll_iteration()
        except REDIS_ERRORS:
            raise
        except Exception as error:
            if self._service is None:
                raise
            self._count_damage(1, "arq could not process a value")
            log.warning("arq.interrupted", extra={"why": str(error), "error": type(error).__name__})

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start stock jobs; ids that arq cannot read are removed from its queue first."""
        if self._service is not None:
            listed = len(job_ids)
            job_ids = await StockQueue(self.pool, self.queue_name).readable(job_ids)
            self._count_damage(listed - len(job_ids), "arq cannot read a job id or its due time")
        await super().start_jobs(job_ids)

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a stock job; an error that arq does not expect, as by a damaged value, fails this job alone."""
        try:
            await super().run_job(job_id, score)
        except Exception as error:
            by_redis = isinstance(error, REDIS_ERRORS) and not is_foreign_value(error)
            if self._service is None or by_redis:
                raise
            self._count_damage(1, "arq could not process a job")
            log.error(
                "arq.job_failed",
                extra={"job": job_id[:64], "why": str(error)[:256], "error": type(error).__name__},
            )
            await self._fail_job(job_id)

    async def _fail_job(self, job_id: str) -> None:
        """Store a failed result of a stock job, and remove the job."""
        now_ms = unix_ms()
        failure = JobExecutionFailed("the job, or a value of arq for it, could not be processed")
        result = serialize_result(
            *("<unknown>", (), {}, 1, now_ms, False, failure, now_ms, now_ms, job_id, self.queue_name),
            job_id=job_id,
            serializer=self.job_serializer,
        )
        try:
            await self.finish_failed_job(job_id, result)
        except REDIS_ERRORS as error:
            if not is_foreign_value(error):  # the transaction has removed the job all the same
                raise
            await self._remove_foreign_keys()

    async def _cancel_aborted_jobs(self) -> None:
        """Cancel stock jobs that a producer wants aborted; ids that arq cannot read are removed first."""
        if self._service is not None:
            removed = await StockQueue(self.pool, self.queue_name).remove_unreadable_aborts()
            self._count_damage(removed, "arq cannot read the id of an aborted job")
        await super()._cancel_aborted_jobs()

    def _count_damage(self, items: int, why: str) -> None:
        if items and self._metrics is not None:
            self._metrics.values_damaged.labels("stock_queue").inc(items)
            log.warning("value.damaged", extra={"source": "stock_queue", "items": items, "why": why})

    def handle_sig(self, signum: signal.Signals) -> None:
        """Drain on the first signal, within ``drain_s`` seconds; on a second one, end within ``HURRY_S``."""
        if self._service is None:
            super().handle_sig(signum)
        elif self._service.draining:
            end_process_after(HURRY_S)
            super().handle_sig(signum)
        else:
            end_process_after(self._service.drain_s)
            self._service.drain()

    async def close(self) -> None:
        """Close as arq does; Redis may be away by then."""
        if self._service is None:
            await super().close()
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await super().close()
        except REDIS_ERRORS as error:  # a time-out is an OSError
            log.warning("arq.close_failed", extra={"why": str(error)})
        finally:
            async with contextlib.AsyncExitStack() as closing:  # both, whatever comes of the other
                closing.push_async_callback(_close, self._doorbells)
                if self._pool is not None:  # arq closes it last
                    closing.push_async_callback(_close, self._pool)


async def _close(redis: Redis) -> None:
    """Every connection is closed afterwards, also where the server does not take note."""
    with contextlib.suppress(*REDIS_ERRORS):  # a time-out is an OSError
        async with asyncio.timeout(CLOSE_S):
            await redis.aclose()
