"""``sigmill keys``: signing keys, created inside a token and never exported.

create_adopt   ``sigmill keys create`` and ``adopt``
pinned_version key version that a command names
request        ``sigmill keys request``
certificates   ``sigmill keys attach-certificate`` and ``certificate``
rotate         ``sigmill keys rotate``
rotation       ``sigmill keys activate``
ending         ``sigmill keys retire`` and ``revoke``
version_states changes of versions' states in the file, and the reload of this host
origins        origin statements of keys, and ``sigmill keys origin``
rules          ``sigmill keys set``
list_show      ``sigmill keys list`` and ``show``
creation_lock  one creation at a time
new_key        creation of a key, and its lines for the tenant's file
key_request    requested key, checked against the configuration; kinds of key by name
key_locations  keys of the configuration in their tokens

It never imports `workers.hsm`: tokens are reached through `workers.token_admin`.
"""

from __future__ import annotations

import click

from workers.cli.commands import KEYS, LazyGroup


@click.group(cls=LazyGroup, table=KEYS, no_args_is_help=True)
def keys() -> None:
    """Create signing keys inside tokens, adopt existing ones, and compare them with the configuration.

    There is no import: a key that was ever outside a token may have copies elsewhere.
    """
