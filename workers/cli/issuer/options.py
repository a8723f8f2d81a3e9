"""Options of the issuer's commands, and the start of its processes."""

from __future__ import annotations

from pathlib import Path

import click

issuer_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/sigmill/issuer.toml"),
    show_default=True,
    envvar="SIGMILL_ISSUER_CONFIG",
    show_envvar=True,
    help="The issuer's TOML file.",
)
