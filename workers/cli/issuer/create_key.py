"""``sigmill issuer create-key``: the key that signs grants, created inside the issuer's token."""

from __future__ import annotations

import base64
from pathlib import Path

import click
import msgspec

from workers.cli.issuer.options import issuer_config_option
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Output, emit, print_block


class IssuerKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key that was created: SubjectPublicKeyInfo in base64."""

    token: str
    label: str
    public_key: str


@click.command("create-key")
@issuer_config_option
@click.option("--token", required=True, help="The token, a table [tokens.NAME] of the issuer's file.")
@click.option("--label", default="sigmill-issuer", show_default=True, help="Label of the new key.")
@json_option
@click.pass_obj
def create_key(output: Output, /, *, config: Path, token: str, label: str) -> None:
    """Create the P-256 key that signs grants inside a token, and print the lines that name it.

    The issuer's file needs no more than its [tokens] for it. The key never leaves the token.
    """
    from queueing.files.durable_file import make_folder
    from queueing.protocol.algorithms import KeyKind
    from workers.issuer.issuer_file import load_tokens
    from workers.token_admin.client import TokenAdmin

    tokens, state_dir = load_tokens(config, token)
    make_folder(state_dir)
    created = TokenAdmin(token, tokens[token], state_dir, owner="the issuer").create(KeyKind.P256, label)
    public_key = base64.b64encode(created.public_key).decode()
    if output.as_json:
        emit(IssuerKey(token=token, label=label, public_key=public_key))
        return
    print_block(
        f'# In [issuer] of the issuer\'s file\ntoken = "{token}"\npublic_key = "{public_key}"\n\n'
        "# In the file of each tenant that it may give grants for\n[issuers.ci]\n"
        f'public_key = "{public_key}"\nexpires = 2027-11-27T00:00:00Z\n'
    )
