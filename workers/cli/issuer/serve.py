"""``sigmill issuer serve``: the front, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from queueing.errors import ConfigError
from workers.cli.issuer.options import issuer_config_option
from workers.cli.shell.options import json_option

if TYPE_CHECKING:
    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.telemetry.log_writer import LogWriter

DRAIN_S: Final = 10.0
"""Time for requests that are begun when SIGTERM comes."""


@click.command("serve")
@issuer_config_option
@json_option
def serve(config: Path) -> None:
    """Serve requests for grants over HTTPS at [http] until SIGTERM.

    This process holds no key of the issuer. With `socket` in [issuer] it uses the lane that the host started
    (`sigmill issuer lane`, as another user); without, it starts one itself, which is for trials: both then run as one user.
    Serves /metrics, /healthz and /readyz at [metrics].
    """
    os.environ["AIOHTTP_NO_EXTENSIONS"] = "1"  # before the first import: aiohttp's own parser in Python
    from queueing.aio.runner import run
    from workers.issuer.issuer_file import load_issuer
    from workers.telemetry.json_logs import log_to_stderr, set_levels

    logs = log_to_stderr()
    configuration = load_issuer(config)
    set_levels(configuration.logging.level, jobs=False)
    run(_serve(configuration, logs))


async def _serve(configuration: IssuerConfiguration, logs: LogWriter) -> None:
    from queueing.aio.owned_tasks import end_tasks
    from workers.https.certificate import ServerCertificate
    from workers.https.server import Address, HttpsServer
    from workers.issuer.front import Front, bounds
    from workers.issuer.front_status import FrontStatus
    from workers.issuer.lane_client import LaneClient
    from workers.telemetry.edge_metrics import IssuerMetrics
    from workers.telemetry.http_pages import Pages
    from workers.telemetry.http_server import MetricsServer
    from workers.telemetry.metrics import process_registry, say_build

    registry = process_registry()
    metrics = IssuerMetrics(registry)
    say_build(metrics, "issuer")
    logs.count_in(metrics.log_lines_dropped)
    lane = LaneClient(configuration)
    certificate = ServerCertificate(configuration.tls_files(), metrics)
    status = FrontStatus(configuration, lane, metrics)
    http = configuration.http
    https = HttpsServer(Front(configuration, lane, metrics), bounds(http.max_connections), metrics)
    address = Address(host=http.host, port=http.port, file=str(configuration.file), key="http.port")
    ended = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, ended.set)
    server = MetricsServer(
        configuration.metrics, Pages(registry, status), connections=metrics.http_connections
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(loop) for loop in (lane.run(), status.run(), certificate.watch())]
            try:
                await https.listen(address, certificate.context)
                status.listening = True
                await ended.wait()
                status.listening = False
                await https.close(DRAIN_S)
            finally:
                await end_tasks(running)
    except* ConfigError as errors:
        raise errors.exceptions[0] from None
    finally:
        server.close()
