"""``sigmill audit``: the log of this host."""

from __future__ import annotations

import click

from workers.cli.commands import AUDIT, LazyGroup


@click.group(cls=LazyGroup, table=AUDIT, no_args_is_help=True)
def audit() -> None:
    """The write-ahead log of this host, which has every operation of its tokens."""
