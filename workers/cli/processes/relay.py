"""``sigmill relay``: HTTPS for clients that have no Redis."""

from __future__ import annotations

from pathlib import Path

import click

from workers.cli.shell.options import json_option


@click.command("relay")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/sigmill/relay.toml"),
    show_default=True,
    help="Configuration file of the relay.",
)
@json_option
def relay(config: Path) -> None:
    """Take sealed envelopes by HTTPS and give results back, until SIGTERM.

    For clients with `url` in client.toml. It holds no key: lanes verify the envelopes, clients the signatures. It connects to Redis
    as each tenant's own user, loads a changed certificate, and serves /metrics, /healthz and /readyz at [metrics].
    """
    from queueing.aio.runner import run
    from workers.relay.process import serve
    from workers.relay.settings import RelaySettings
    from workers.telemetry.json_logs import log_to_stderr, set_levels

    logs = log_to_stderr()
    settings = RelaySettings.from_file(config)
    set_levels(settings.logging.level, jobs=False)
    run(serve(settings, logs))
