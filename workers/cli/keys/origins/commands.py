"""``sigmill keys origin``: statements about the origin of keys: make one later, show, and verify."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.errors import KeyUnknown, ResultInvalid
from workers.cli.commands import KEYS_ORIGIN, LazyGroup
from workers.cli.keys.creation_lock import one_creation_at_a_time
from workers.cli.keys.origins.ceremony import Ceremony
from workers.cli.keys.origins.files import (
    EvidenceState,
    StatedKey,
    check_evidence,
    evidence_file,
    opened,
    print_files,
    read,
    verified,
)
from workers.cli.keys.origins.options import checked_witnesses
from workers.cli.keys.origins.records import finish, interrupted, unfinished
from workers.cli.keys.pinned_version import PinnedVersion, find_version, version_options
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Output, emit, print_line, print_message
from workers.config.loading import load_configuration, load_scope
from workers.config.service_file import load_service
from workers.pki.origin import Origin, OriginStatement

if TYPE_CHECKING:
    from workers.config.loading import Configuration

file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


class VerifiedOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that holds. ``state`` of its key version: None for one that the configuration no longer has.

    ``evidence``: None where the statement names none, ``missing`` where its file is not there to be compared.
    """

    file: str
    state: str | None
    statement: OriginStatement
    request_sha256: str | None
    evidence: EvidenceState | None = None


@click.group(cls=LazyGroup, table=KEYS_ORIGIN, no_args_is_help=True)
def origin() -> None:
    """Statements about the origin of keys: the token that made them, what it shows, and who was there."""


@click.command()
@version_options
@click.option(
    "--token", metavar="TOKEN", help="Token to read the key in. Default: the first one of the version."
)
@click.option(
    "--witness", "witnesses", multiple=True, metavar="NAME", help="Name of a person present; may be repeated."
)
@json_option
@click.pass_obj
def create(
    output: Output, /, *, config: Path, tenant: str, key: str, token: str | None, witnesses: tuple[str, ...]
) -> None:
    """Make a statement about a key that exists, as the token shows it now; `keys create --origin` makes one at once.

    It says that the key was found in the token, not that it was generated at this time. But where `keys create` or
    `keys rotate` made the key, and failed before its statement was there, this command completes their ceremony: the
    statement says that the key was generated, when, and before which witnesses. Of a command that was killed before it had the
    token's answer, the statement says `interrupted`: the key has the CKA_ID that the service key had signed before.
    """
    scope = load_scope(config)
    names = checked_witnesses(witnesses)
    with one_creation_at_a_time(scope):
        _create(output, find_version(scope, tenant, key, wanted=("next", "active")), token, names)


def _create(output: Output, pinned: PinnedVersion, token: str | None, witnesses: tuple[str, ...]) -> None:
    scope = pinned.scope
    ceremony = _completed(
        Ceremony(
            key=StatedKey(
                scope=scope,
                tenant=pinned.tenant.name,
                key=pinned.key.name,
                version=pinned.version.version,
                public_key=pinned.version.public_key,
            ),
            service=load_service(scope.file),
            token=pinned.token_admin(token).name,
            witnesses=witnesses,
            generated_at=None,
        )
    )
    files, _ = ceremony.hold(None)
    if ceremony.how != "found":
        finish(ceremony.key)
    print_files(output, files)
    keep_key_event(
        scope,
        "stated",
        tenant=pinned.tenant.name,
        key=pinned.key.name,
        version=pinned.version.version,
        public_key=pinned.version.public_key,
        statement_sha256=bytes.fromhex(files.statement_sha256),
        witnesses=ceremony.witnesses,
    )


def _completed(ceremony: Ceremony) -> Ceremony:
    """The ceremony that made the key, if a record of it waits for its statement; else this one, of a key that was found.

    Raises ``click.UsageError`` for witnesses who would be named as those of the generation.
    """
    found = unfinished(ceremony.key, ceremony.service)
    opening = interrupted(ceremony.key, ceremony.service, ceremony.token) if found is None else found[0]
    if opening is None:
        return ceremony
    if ceremony.witnesses:
        named = ", ".join(opening.witnesses) or "none"
        raise click.UsageError(
            f"this statement completes the ceremony in which the key was generated, with its witnesses ({named}): omit --witness"
        )
    if found is None:
        return dataclasses.replace(ceremony, witnesses=opening.witnesses, opened_at=opening.at)
    return dataclasses.replace(ceremony, witnesses=opening.witnesses, generated_at=found[1])


@click.command()
@file_argument
@json_option
@click.pass_obj
def show(output: Output, /, *, file: Path) -> None:
    """Show what a statement says. Nothing is verified: it may be forged."""
    found = read(file, opened(file).content)
    if output.as_json:
        emit(
            VerifiedOrigin(
                file=str(file),
                state=None,
                statement=found.statement,
                request_sha256=found.request_sha256,
            )
        )
        return
    _print(found)
    print_message("not verified; `sigmill keys origin verify` does that")


@click.command()
@file_argument
@config_option
@click.option(
    "--removed",
    is_flag=True,
    help="Take a statement about a key version that the configuration no longer has.",
)
@json_option
@click.pass_obj
def verify(output: Output, /, *, file: Path, config: Path, removed: bool) -> None:
    """Verify a statement: signed by this service's key, of a pinned key, and with that key's own request inside.

    The file of the vendor's evidence beside it (`….evidence`) is compared with its SHA-256 in the statement; it is said
    where that file is missing. The signature alone can also be checked without Sigmill: openssl cms -verify -inform DER
    -in FILE -CAfile statements.….pem, the certificate of the service key beside its file.
    """
    configuration = load_configuration(config)
    found = verified(file, configuration.service.service_key.public_key)
    said = found.statement
    state = _state(configuration, said, file)
    evidence = next((check_evidence(file, each) for each in said.vendor_evidence), None)
    if state is None and not removed:
        raise KeyUnknown(
            f"{file}: signed by the service key, but the configuration has no version {said.version} of {said.key} of"
            f" {said.tenant} (SHA-256 of its SPKI: {said.public_key_sha256})",
            hint="`sigmill keys list` shows what is configured; --removed takes the statement of a version that was removed.",
        )
    if output.as_json:
        emit(
            VerifiedOrigin(
                file=str(file),
                state=state,
                statement=said,
                request_sha256=found.request_sha256,
                evidence=evidence,
            )
        )
        return
    _print(found)
    if evidence == "missing":
        print_message(f"warning: {evidence_file(file)} is missing: the vendor's evidence was not compared")
    print_message(
        f"good: signed by the service key; {said.key}/{said.version} is {state or 'no longer in the configuration'}"
    )


def _state(configuration: Configuration, said: OriginStatement, file: Path) -> str | None:
    """State of the key version of the statement; None for one that is not there. ``ResultInvalid`` where another key is pinned."""
    if said.audience != configuration.service.audience:
        raise ResultInvalid(
            f"{file}: it is of the service {said.audience!r}", hint="Give that service's --config."
        )
    tenant = configuration.tenants.get(said.tenant)
    key = None if tenant is None else tenant.keys.get(said.key)
    versions = () if key is None else key.versions
    version = next((v for v in versions if v.version == said.version), None)
    if version is None:
        return None
    if version.public_key.sha256.hex() != said.public_key_sha256:
        raise ResultInvalid(
            f"{file}: it is of another key than {said.key}/{said.version} of {said.tenant}, which is"
            f" {version.public_key.sha256.hex()}",
            hint="Look for the statement with the beginning of that number in its name.",
        )
    return version.state_now


def _print(found: Origin) -> None:
    said = found.statement
    when = said.generated_at or said.opened_at or said.at
    print_line(
        f"{said.key}/{said.version} of {said.tenant} ({said.audience}), {said.kind}, {said.how} {when:%Y-%m-%dT%H:%M:%SZ}"
    )
    print_line(f"read back from the token {said.at:%Y-%m-%dT%H:%M:%SZ}")
    print_line(f"public key (SHA-256 of SPKI): {said.public_key_sha256}")
    token = said.token
    print_line(
        f"token {token.label}, serial {token.serial}: {token.manufacturer} {token.model}, firmware {token.firmware}"
    )
    print_line(f"certification, as the operator entered it: {token.certification or 'none'}")
    print_line(f"module {said.module.path}: {said.module.description}, SHA-256 {said.module.sha256}")
    print_line(f"mechanism {said.mechanism or 'not shown'}")
    for name, value in sorted(said.attributes.items()):
        print_line(f"  {name} = {str(value).lower()}")
    print_line(f"witnesses: {', '.join(said.witnesses) or 'none'}")
    for evidence in said.vendor_evidence:
        print_line(
            f"vendor's evidence: {evidence.bytes} bytes of {evidence.command[0]}, SHA-256 {evidence.sha256}"
        )
    print_line(f"request (SHA-256): {found.request_sha256 or 'none'}; build {said.build}")
