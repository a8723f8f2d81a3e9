"""The relay's process: its parts, its start, and its drain at SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING, Final

from queueing.aio.owned_tasks import end_tasks
from workers.https.certificate import ServerCertificate
from workers.https.server import Address, Bounds, HttpsServer
from workers.relay.admission import Admission
from workers.relay.endpoints import Endpoints
from workers.relay.site import RelaySite
from workers.relay.tenant_queue import TenantQueue
from workers.telemetry.edge_metrics import RelayMetrics
from workers.telemetry.http_pages import Pages
from workers.telemetry.http_server import MetricsServer
from workers.telemetry.metrics import process_registry, say_build

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workers.relay.settings import RelaySettings
    from workers.telemetry.log_writer import LogWriter

log = logging.getLogger("sigmill.relay")

_DRAIN_STEP_S: Final = 0.02


class RelayHealth:
    """State of the process, for the probes; read from the metrics server's thread."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    @property
    def alive(self) -> bool:
        """The loop that answers requests is the one that would be asked."""
        return True

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return not self._admission.draining


async def serve(settings: RelaySettings, logs: LogWriter) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises ``ConfigError`` for what the files or the address make impossible."""
    registry = process_registry()
    metrics = RelayMetrics(registry)
    say_build(metrics, "relay")
    logs.count_in(metrics.log_lines_dropped)
    admission = Admission(settings)
    certificate = ServerCertificate(settings.tls.files(), metrics)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    queues = {name: TenantQueue(name, tenant.redis) for name, tenant in settings.tenants.items()}
    endpoints = Endpoints(settings, queues, admission=admission, metrics=metrics)
    site = RelaySite(endpoints, settings.limits, admission=admission, metrics=metrics)
    limits = settings.limits
    bounds = Bounds(connections=limits.connections, header_s=limits.header_s, answer_s=limits.body_s)
    server = HttpsServer(site, bounds, metrics)
    metrics.waiting_clients_limit.set(settings.limits.waiting_clients)
    metrics.waiting_clients.set_function(lambda: admission.waiting)
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(close_all, queues.values())
        pages = MetricsServer(
            settings.metrics, Pages(registry, RelayHealth(admission)), connections=metrics.http_connections
        )
        closing.callback(pages.close)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(loop)
                for loop in (certificate.watch(), *(each for q in queues.values() for each in q.loops()))
            ]
            address = Address(host=settings.host, port=settings.port, file="relay.toml", key="port")
            port = await server.listen(address, certificate.context)
            log.info("relay.started", extra={"port": port, "tenants": len(queues), "metrics": pages.port})
            await ended.wait()
            log.info("relay.draining", extra={"waiting": admission.waiting})
            server.stop_listening()
            await _drain(settings, admission, queues)
            await server.close()
            await end_tasks(tasks)
    log.info("relay.stopped")


async def close_all(queues: Iterable[TenantQueue]) -> None:
    """Close all at the same time: neither a Redis that does not answer nor an error of one delays or ends that of another."""
    every = list(queues)
    ends = await asyncio.gather(*(queue.close() for queue in every), return_exceptions=True)
    for queue, end in zip(every, ends, strict=True):
        if isinstance(end, BaseException):
            log.error("relay.close_failed", exc_info=end, extra={"tenant": queue.tenant})


async def _drain(settings: RelaySettings, admission: Admission, queues: dict[str, TenantQueue]) -> None:
    """Answer the clients that wait, and finish what is in hand. What takes longer is cut with its connection."""
    admission.draining = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.drain_s):
            for queue in queues.values():
                queue.clients.release()
            while admission.requests or admission.waiting:  # noqa: ASYNC110 - a counter, not an event, in the hot path
                await asyncio.sleep(_DRAIN_STEP_S)
