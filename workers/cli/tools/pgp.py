"""``sigmill pgp``: OpenPGP certificates of keys in an HSM."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from queueing.agent.openpgp.armor import armored
from queueing.agent.openpgp.certificate import CertificateRequest, primary_key
from queueing.agent.openpgp.output_file import write_whole
from queueing.aio.runner import run
from queueing.client.signing_client import SigningClient
from queueing.client.signing_request import KeySpec
from queueing.errors import KeyUnknown, OutputUnwritable
from queueing.protocol.envelope import CURRENT_VERSION
from queueing.protocol.key_directory import KeyEntry
from queueing.protocol.public_keys import PublicKey
from workers.cli.commands import PGP, LazyGroup
from workers.cli.shell.options import client_config_option, deadline_option, json_option, key_option
from workers.cli.shell.output import Output, emit, print_block, print_message
from workers.cli.signing.request_options import client_and_deadline

_LATEST_S = 2**32 - 1
"""An OpenPGP date has 32 bits (RFC 4880, 3.5)."""


class MadeCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate in JSON; ``created_s`` is Unix time."""

    certificate: str
    fingerprint: str
    created_s: int


@click.group("pgp", cls=LazyGroup, table=PGP)
def pgp() -> None:
    """OpenPGP certificates, for rpmsign, debsign, apt repositories and git."""


@click.command("certificate")
@client_config_option
@key_option
@click.option("--user-id", required=True, metavar="TEXT", help='The key\'s owner: "Name <address@example>".')
@click.option(
    "--created",
    "created_s",
    type=click.IntRange(1, _LATEST_S),
    metavar="SECONDS",
    help="Creation time as Unix time. It is part of the fingerprint: give the old one to make a certificate again.",
)
@click.option(
    "--output", "-o", "file", type=click.Path(path_type=Path), metavar="FILE", help="Default: stdout."
)
@deadline_option
@json_option
@click.pass_obj
def certificate(  # noqa: PLR0913  # one for each option
    output: Output,
    /,
    *,
    config: Path,
    key: str,
    user_id: str,
    created_s: int | None,
    file: Path | None,
    deadline_s: float | None,
) -> None:
    """Make an OpenPGP certificate (version 4) of a key, certified by the key itself in its HSM.

    One signature. The certificate is what others import; `sigmill run` signs with it by its option `--pgp`. Its fingerprint
    depends on the key version and the creation time.
    """
    if "\n" in user_id or not user_id.strip():
        raise click.UsageError("--user-id is one line")
    created_s = int(time.time()) if created_s is None else created_s
    client, deadline_s = client_and_deadline(config, deadline_s)
    made = run(_make(client, deadline_s, key, user_id, created_s))
    if output.as_json:
        emit(made)
    elif file is None:
        print_block(made.certificate)
    if file is not None:
        try:
            write_whole(str(file), made.certificate.encode("ascii"))
        except OSError as error:
            raise OutputUnwritable(f"{file}: {error.strerror}") from None
    print_message(f"fingerprint: {made.fingerprint} (created {created_s})")


async def _make(
    client: SigningClient, deadline_s: float, key: str, user_id: str, created_s: int
) -> MadeCertificate:
    async with client:
        spec, public_key = _active(await client.keys(), key)
        request = CertificateRequest(spec=spec, public_key=public_key, user_id=user_id, created_s=created_s)
        raw = await request.certificate(client, deadline_s)
    fingerprint = primary_key(public_key, created_s).fingerprint.hex().upper()
    return MadeCertificate(
        certificate=armored("PUBLIC KEY BLOCK", raw).decode(), fingerprint=fingerprint, created_s=created_s
    )


def _active(keys: Mapping[str, KeyEntry], key: str) -> tuple[str, PublicKey]:
    """``KEY/VERSION`` and public key of the named active version, or of the newest one; raises ``KeyUnknown``."""
    wanted = KeySpec.parse(key)
    entry = keys.get(wanted.key)
    for version in reversed(entry.versions if entry else ()):
        if version.state == "active" and wanted.key_version in (CURRENT_VERSION, version.version):
            return f"{wanted.key}/{version.version}", PublicKey.from_spki(version.public_key)
    raise KeyUnknown(f"the tenant has no active key `{key}`")
