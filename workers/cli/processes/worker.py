"""``sigmill worker``: runs one worker process of this host until SIGTERM."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit

if TYPE_CHECKING:
    from workers.telemetry.log_writer import LogWriter


@click.command("worker")
@config_option
@json_option
def worker(config: Path) -> None:
    """Claim, sign and publish jobs of every configured tenant until SIGTERM.

    SIGHUP reloads the configuration, as `sigmill tenants reload` does. Serves /metrics, /healthz and /readyz at
    [metrics]. The first SIGTERM drains; the second one exits at once.
    """
    from queueing.aio.runner import run
    from workers.telemetry.json_logs import log_to_stderr

    logs = log_to_stderr()
    try:
        run(_serve(config, logs))
    except asyncio.CancelledError:
        # The second SIGTERM: interrupted jobs are in the log, and their leases expire for the next worker.
        raise SystemExit(Exit.FAILED) from None


async def _serve(config: Path, logs: LogWriter) -> None:
    from workers.config.snapshots import ConfigurationFiles
    from workers.telemetry.http_pages import Pages
    from workers.telemetry.http_server import MetricsServer
    from workers.telemetry.metrics import Metrics, process_registry, say_build
    from workers.worker import SigningWorker

    files = ConfigurationFiles(config)
    reading = files.read()
    files.adopt(reading)
    configuration = reading.configuration
    registry = process_registry()
    metrics = Metrics(registry)
    say_build(metrics, "worker")
    logs.count_in(metrics.log_lines_dropped)
    worker = SigningWorker(signing=configuration, metrics=metrics, files=files)
    service = worker.service
    assert service is not None
    worker.open()  # a second worker on this state directory is told so, rather than of its port
    server = MetricsServer(
        configuration.service.metrics, Pages(registry, service), connections=metrics.http_connections
    )
    try:
        await worker.async_run()
    finally:
        server.close()
        await worker.close()
