"""``sigmill issuer lane``: the issuer's lane, with its own user and credential."""

from __future__ import annotations

from pathlib import Path

import click

from queueing.errors import ConfigError
from workers.cli.issuer.options import issuer_config_option
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit


@click.command("lane")
@issuer_config_option
@click.option("--child-of", type=int, hidden=True, help="Process id of the front that started it.")
@click.option("--fd", type=int, hidden=True, help="Descriptor of the connection to that front.")
@json_option
def lane(config: Path, child_of: int | None, fd: int | None) -> Exit:
    """Run the issuer's lane: hold the PIN, verify tokens, and sign grants, for a front that runs as another user.

    Listens at `socket` of [issuer] and accepts the uid `front_uid` only, one front at a time. It exits after a failure of
    the token, so that the host must restart it (systemd: Restart=always).
    """
    import socket

    from workers.hsm.process_hardening import die_with_parent, harden
    from workers.issuer.issuer_file import load_issuer
    from workers.issuer.lane_process import IssuerLane
    from workers.telemetry.json_logs import log_to_stderr
    from workers.telemetry.log_writer import flush_logs

    harden()
    if child_of is not None:
        die_with_parent(child_of)
    log_to_stderr()
    configuration = load_issuer(config)
    issuer_lane = IssuerLane(configuration)
    if fd is not None:
        issuer_lane.serve_child(socket.socket(fileno=fd))
    elif configuration.socket is None:
        raise ConfigError(str(config), "issuer.socket", "is missing", "Name the socket to listen at.")
    else:
        issuer_lane.serve_host(configuration.socket)
    flush_logs()
    return Exit.DONE
