"""The option ``--tenant``: whose record, or receipt, it must be."""

from __future__ import annotations

import re

import click

from queueing.protocol.names import NAME_PATTERN


def tenant_name(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The name of a tenant, or None where none is given. Raises ``click.BadParameter``."""
    if value is not None and not re.match(NAME_PATTERN, value):  # also of a shell variable that is not set
        raise click.BadParameter(f"{value!r} is no name of a tenant", param=param)
    return value
