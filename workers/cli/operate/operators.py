"""``sigmill operators``: keys with which operators sign stop orders."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import click
import msgspec

from queueing.protocol.client_keys import ClientKey, ClientKeyKind
from queueing.protocol.names import NAME_PATTERN
from workers.cli.commands import OPERATORS, LazyGroup
from workers.cli.shell.options import json_option, key_kind_option
from workers.cli.shell.output import Exit, Output, emit, print_block, print_message
from workers.config.tenant_edits import toml_key


class CreatedOperator(msgspec.Struct, frozen=True, kw_only=True):
    """The created operator key; add ``block`` to every worker's sigmill.toml."""

    operator: str
    private_key_file: str
    public_key: str
    block: str


@click.group(cls=LazyGroup, table=OPERATORS, no_args_is_help=True)
def operators() -> None:
    """Operator keys, which sign stop orders and nothing else."""


@click.command()
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="File for the new private key.",
)
@key_kind_option
@json_option
@click.pass_obj
def create(output: Output, /, *, name: str, out: Path, kind: str) -> Exit:
    """Create a key for the operator NAME (mode 0600), and print the block for every worker's sigmill.toml."""
    if not re.match(NAME_PATTERN, name):
        raise click.UsageError(
            "an operator's name has lower-case letters, digits, dots, dashes and underscores"
        )
    key = ClientKey.generate(ClientKeyKind(kind))
    try:
        key.write(out)
    except OSError as error:
        raise click.UsageError(f"--out {out}: {error.strerror}") from None
    public = base64.b64encode(key.public_spki).decode()
    block = f'[operators.{toml_key(name)}]\npublic_key = "{public}"\n'
    if output.as_json:
        emit(CreatedOperator(operator=name, private_key_file=str(out), public_key=public, block=block))
    else:
        print_block(block)
        print_message(f"the private key is {out}: the operator keeps it, never a worker's host")
    return Exit.DONE
