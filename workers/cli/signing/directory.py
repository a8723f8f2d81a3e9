"""``sigmill directory``: the tenant's keys, as the signed key directory has them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.client.signing_client import SigningClient
from queueing.config.toml import nearest
from queueing.errors import KeyUnknown
from queueing.protocol.public_keys import PublicKey
from queueing.unix_time import from_unix_ms
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.options import client_config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_table
from workers.cli.signing.request_options import WaitingCommand

if TYPE_CHECKING:
    from queueing.protocol.key_directory import KeyEntry, KeyVersionEntry


class DirectoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One key version. Public key (SPKI) and certificates: DER in base64, leaf first; ``chains`` by authority's name."""

    key: str
    version: int
    state: str
    kind: str
    algorithms: tuple[str, ...]
    default_algorithm: str
    public_key: str
    public_key_sha256: str
    created: datetime | None
    certificates: tuple[str, ...]
    chains: dict[str, tuple[str, ...]]


@click.command()
@client_config_option
@click.option("--key", metavar="KEY", help="Only this key.")
@json_option
@click.pass_obj
def directory(output: Output, /, *, config: Path, key: str | None) -> Exit:
    """Show the tenant's keys, verified: names, versions, states, algorithms, public keys and certificates.

    They come from the key directory that the service signs. With --json each version is one line with its public key,
    its certificate chains and the time of its creation, on which an OpenPGP fingerprint depends.
    """
    client = SigningClient.from_file(config)
    return run_stoppable(show_directory(client, key, as_json=output.as_json), WaitingCommand(client, config))


async def show_directory(client: SigningClient, key: str | None, *, as_json: bool) -> Exit:
    """Print the versions of this key, or of all keys, by name. Raises ``KeyUnknown``, ``QueueUnavailable``."""
    async with client:
        entries: Mapping[str, KeyEntry] = await client.keys()
    if key is not None and key not in entries:
        raise KeyUnknown(f"the tenant has no key `{key}`", hint=nearest(key, entries))
    lines = [
        _line(name, entry, version)
        for name, entry in sorted(entries.items())
        if key in {None, name}
        for version in entry.versions
    ]
    if as_json:
        for line in lines:
            emit(line)
        return Exit.DONE
    print_table(
        ("KEY", "STATE", "KIND", "DEFAULT ALGORITHM", "CREATED", "CERTIFICATES", "SHA-256 OF SPKI"),
        [
            (
                f"{x.key}/{x.version}",
                x.state,
                x.kind,
                x.default_algorithm,
                None if x.created is None else f"{x.created:%Y-%m-%d}",
                len(x.certificates) + sum(map(len, x.chains.values())),
                x.public_key_sha256[:16],
            )
            for x in lines
        ],
    )
    return Exit.DONE


def _line(name: str, entry: KeyEntry, version: KeyVersionEntry) -> DirectoryLine:
    created_ms = version.created_at_ms
    return DirectoryLine(
        key=name,
        version=version.version,
        state=version.state,
        kind=PublicKey.from_spki(version.public_key).kind,
        algorithms=tuple(sorted(entry.algorithms)),
        default_algorithm=entry.default_algorithm,
        public_key=base64.b64encode(version.public_key).decode(),
        public_key_sha256=hashlib.sha256(version.public_key).hexdigest(),
        created=None if created_ms is None else from_unix_ms(created_ms),
        certificates=_base64(version.certificates),
        chains={authority: _base64(chain) for authority, chain in version.chains.items()},
    )


def _base64(chain: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(base64.b64encode(certificate).decode() for certificate in chain)
