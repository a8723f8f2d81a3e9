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

from arq.worker import Worker, func

from queueing.aio.owned_tasks import end_tasks
from queueing.errors import FunctionUnknown
from queueing.protocol.jobs import FUNCTION, deserialize, serialize
from queueing.redis.connection import connect
from queueing.redis.errors import REDIS_ERRORS
from workers.composition import build_service
from workers.lifecycle.shutdown import HURRY_S, end_process_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from workers.config.loading import Configuration
    from workers.config.snapshots import ConfigurationFiles
    from workers.service import SigningService
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.worker")

DOORBELL_WAIT_S = 15.0
"""Longest silence of the doorbells' connection; it is pinged every 10 s."""

CLOSE_S = 0.5
"""Longest time for arq's last commands to Redis, which may be away: its health check expires by itself."""


async def _misdirected(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - arq's signature
    """Refuse a signing job on arq's own queue: it has no tenant."""
    raise FunctionUnknown("signing jobs go to their tenant's queue, sigmill:{TENANT}:queue")


class SigningWorker(Worker):
    """``arq.Worker`` with three more arguments: ``signing``, ``metrics`` (needed with it) and ``files``.

    ``files`` are those from which ``signing`` was read; SIGHUP reloads them.
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
        if signing is not None:
            if metrics is None:
                raise ValueError("a signing worker needs its metrics")
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
        """Take the state directory, once; ``main`` does it where nobody did before. Raises ``ConfigError``."""
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
                log.warning("arq.interrupted", extra={"why": str(error), "error": type(error).__name__})
                await asyncio.sleep(1.0)

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
