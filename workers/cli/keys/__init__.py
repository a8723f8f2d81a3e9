"""``sigmill keys``: signing keys, which are made inside a token and never leave it."""

from __future__ import annotations

import click

from workers.cli.commands import KEYS, LazyGroup


@click.group(cls=LazyGroup, table=KEYS, no_args_is_help=True)
def keys() -> None:
    """Make signing keys inside tokens, adopt those that are there, and compare them with the configuration.

    There is no import: a key that was ever outside a token cannot show that it is nowhere else.
    """
