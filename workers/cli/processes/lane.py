"""``sigmill lane``: runs a host-started lane, with its own user and credential."""

from __future__ import annotations

from pathlib import Path

import click

from workers.cli.shell.options import config_option, json_option


@click.command("lane")
@config_option
@click.option("--token", required=True, help="The token to log in to.")
@click.option(
    "--tenant",
    envvar="SIGMILL_LANE_TENANT",
    show_envvar=True,
    help="Tenant of the token. Without it, the service's own token.",
)
@click.option(
    "--socket", type=click.Path(path_type=Path), help="Socket to listen on. Default: the token's `socket`."
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Folder for refused PINs. Default: the service's `state_dir`, which must then be writable.",
)
@json_option
def lane(config: Path, token: str, tenant: str | None, socket: Path | None, state_dir: Path | None) -> None:
    """Run a lane: hold one token's PIN and sessions for a worker that runs as another user.

    Accepts one worker at a time over a unix socket, and only the uid in the token's `worker_uid`. Exits when the
    worker disconnects, so that the host must restart it (systemd: Restart=always).
    """
    from workers.hsm.process_hardening import harden
    from workers.lanes.process.unix_server import serve_host_lane
    from workers.telemetry.json_logs import log_to_stderr

    harden()
    log_to_stderr()
    serve_host_lane(config, token=token, tenant=tenant, listen_at=socket, own_state=state_dir)
