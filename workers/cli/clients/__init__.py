"""``sigmill clients``: keys with which build hosts authenticate as clients of a tenant.

create       ``sigmill clients create``, on the build host
login        ``sigmill login``, on the build host
list_revoke  ``sigmill clients list`` and ``revoke``, for operators

It never imports `workers.token_admin`: client keys are files, not objects of a token.
"""

from __future__ import annotations

import click

from workers.cli.commands import CLIENTS, LazyGroup


@click.group(cls=LazyGroup, table=CLIENTS)
def clients() -> None:
    """Client keys: create one on a build host; list and revoke them as an operator."""
