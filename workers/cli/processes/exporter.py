"""``sigmill exporter``: exports queue metrics; one process for the whole cluster."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.cli.shell.options import config_option, json_option

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.telemetry.log_writer import LogWriter


@click.command("exporter")
@config_option
@json_option
def exporter(config: Path) -> None:
    """Export queue metrics (backlogs, budgets, dead letters, expiries) to Prometheus until SIGTERM.

    Polls the queues of all tenants every `interval_s` of [exporter], reloads changed configuration files, and serves
    /metrics, /healthz and /readyz at [exporter]. It needs the configuration and Redis, no token and no PIN.
    """
    from queueing.aio.runner import run
    from workers.config.loading import load_configuration
    from workers.telemetry.json_logs import log_to_stderr, set_levels

    logs = log_to_stderr()
    configuration = load_configuration(config)
    set_levels(configuration.service.logging.level, jobs=False)
    run(_serve(configuration, logs))


async def _serve(configuration: Configuration, logs: LogWriter) -> None:
    from queueing.aio.owned_tasks import end_tasks
    from queueing.redis.connection import connect
    from workers.telemetry.http_pages import Pages
    from workers.telemetry.http_server import MetricsServer
    from workers.telemetry.metrics import process_registry, say_build
    from workers.telemetry.metrics_catalogue import QueueMetrics
    from workers.telemetry.queue_exporter import QueueExporter

    service = configuration.service
    registry = process_registry()
    metrics = QueueMetrics(registry)
    say_build(metrics, "exporter")
    logs.count_in(metrics.log_lines_dropped)
    redis = connect(service.redis)
    queues = QueueExporter(configuration, redis=redis, metrics=metrics)
    ended = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, ended.set)
    server = MetricsServer(
        service.exporter,
        Pages(registry, queues),
        connections=metrics.http_connections,
        table="exporter",
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(queues.run())
            await ended.wait()
            await end_tasks([polling])
    finally:
        server.close()
        await redis.aclose()
