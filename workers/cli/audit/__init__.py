"""``sigmill audit``: the write-ahead log of this host.

seal  ``sigmill audit seal``

It never imports `queueing.client` or `queueing.redis`: the log is read without Redis.
"""

from __future__ import annotations

import click

from workers.cli.commands import AUDIT, LazyGroup


@click.group(cls=LazyGroup, table=AUDIT, no_args_is_help=True)
def audit() -> None:
    """The write-ahead log of this host, which records every operation of its tokens."""
