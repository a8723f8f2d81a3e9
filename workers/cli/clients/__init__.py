"""``sigmill clients``: the keys with which build hosts speak for a tenant."""

from __future__ import annotations

import click

from workers.cli.commands import CLIENTS, LazyGroup


@click.group(cls=LazyGroup, table=CLIENTS)
def clients() -> None:
    """Client keys: create one on a build host; the operator lists and revokes them."""
