"""``sigmill issuer``: the issuer of grants.

serve       ``sigmill issuer serve``
lane        ``sigmill issuer lane``
refresh     ``sigmill issuer refresh``
check       ``sigmill issuer check``
create_key  ``sigmill issuer create-key``
options     options of these commands

It never imports aiohttp or `workers.issuer` before a command is called: the lane loads no HTTP server, the front no PKCS#11.
"""

from __future__ import annotations

import click

from workers.cli.commands import ISSUER, LazyGroup


@click.group(cls=LazyGroup, table=ISSUER)
def issuer() -> None:
    """Issuer of grants: short permissions to sign for builds that show a token of their CI."""
