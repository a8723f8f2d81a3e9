"""``sigmill keys origin``: statements about the origin of keys: make one later, show, and verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from queueing.errors import ConfigError, ResultInvalid
from queueing.files.regular_file import read_regular
from workers.cli.commands import KEYS_ORIGIN, LazyGroup
from workers.cli.keys.ceremony import Ceremony, checked_witnesses, print_files
from workers.cli.keys.pinned_version import find_version, version_options
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Output, emit, print_line, print_message
from workers.config.loading import load_configuration, load_scope
from workers.config.service_file import load_service
from workers.pki.cms import OpenedContent, SignedDataInvalid, open_signed
from workers.pki.origin import Origin, OriginInvalid, OriginStatement, read_origin

if TYPE_CHECKING:
    from workers.config.loading import Configuration

_LARGEST_BYTES: Final = 1024 * 1024

file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


class VerifiedOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that holds, of a key that the configuration pins, or pinned once (``state`` None)."""

    file: str
    state: str | None
    statement: OriginStatement
    request_sha256: str | None


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

    It says that the key was found in the token, not that it was generated at this time.
    """
    scope = load_scope(config)
    pinned = find_version(scope, tenant, key, wanted=("next", "active"))
    ceremony = Ceremony(
        scope=scope,
        service=load_service(scope.file),
        tenant=tenant,
        key=pinned.key.name,
        version=pinned.version.version,
        token=pinned.token_admin(token).name,
        witnesses=checked_witnesses(witnesses),
        how="found",
    )
    files, _ = ceremony.hold(pinned.version.public_key, None)
    print_files(output, files)
    keep_key_event(
        scope,
        "stated",
        tenant=tenant,
        key=pinned.key.name,
        version=pinned.version.version,
        public_key=pinned.version.public_key,
        statement_sha256=bytes.fromhex(files.statement_sha256),
        witnesses=ceremony.witnesses,
    )


@click.command()
@file_argument
@json_option
@click.pass_obj
def show(output: Output, /, *, file: Path) -> None:
    """Show what a statement says. Nothing is verified: it may be forged."""
    statement, request_sha256 = _read(file, _open(file))
    if output.as_json:
        emit(
            VerifiedOrigin(
                file=str(file), state=None, statement=statement.statement, request_sha256=request_sha256
            )
        )
        return
    _print(statement)
    print_message("not verified; `sigmill keys origin verify` does that")


@click.command()
@file_argument
@config_option
@json_option
@click.pass_obj
def verify(output: Output, /, *, file: Path, config: Path) -> None:
    """Verify a statement: signed by this service's key, of a pinned key, and with that key's own request inside.

    The signature alone can also be checked without Sigmill: openssl cms -verify -inform DER -in FILE -CAfile
    statements.….pem, the certificate of the service key beside its file.
    """
    configuration = load_configuration(config)
    opened = _open(file)
    try:
        opened.verify(configuration.service.service_key.public_key)
        found, request_sha256 = _read(file, opened)
        found.check()
    except (SignedDataInvalid, OriginInvalid) as error:
        raise ResultInvalid(
            f"{file}: {error}", hint="Do not rely on it; ask for the original file."
        ) from None
    state = _state(configuration, found, file)
    if output.as_json:
        emit(
            VerifiedOrigin(
                file=str(file), state=state, statement=found.statement, request_sha256=request_sha256
            )
        )
        return
    _print(found)
    print_message(
        f"good: signed by the service key; {found.statement.key}/{found.statement.version} is {state}"
    )


def _open(file: Path) -> OpenedContent:
    try:
        return open_signed(read_regular(file, largest_bytes=_LARGEST_BYTES))
    except OSError as error:
        raise ConfigError(
            str(file), "", f"cannot be read ({error.strerror})", "Name a statement's file."
        ) from None
    except SignedDataInvalid as error:
        raise ResultInvalid(f"{file}: {error}", hint="Name an origin statement, `….origin.p7s`.") from None


def _read(file: Path, opened: OpenedContent) -> tuple[Origin, str | None]:
    try:
        found = read_origin(opened.content)
    except OriginInvalid as error:
        raise ResultInvalid(f"{file}: {error}", hint="Name an origin statement, `….origin.p7s`.") from None
    return found, found.request_sha256


def _state(configuration: Configuration, found: Origin, file: Path) -> str:
    """State of the key version that the statement is about. Raises ``ResultInvalid`` where another key is pinned."""
    said = found.statement
    if said.audience != configuration.service.audience:
        raise ResultInvalid(
            f"{file}: it is of the service {said.audience!r}", hint="Give that service's --config."
        )
    tenant = configuration.tenants.get(said.tenant)
    key = None if tenant is None else tenant.keys.get(said.key)
    versions = () if key is None else key.versions
    version = next((v for v in versions if v.version == said.version), None)
    if version is None:
        return "no longer in the configuration"
    if version.public_key.sha256.hex() != said.public_key_sha256:
        raise ResultInvalid(
            f"{file}: it is of another key than {said.key}/{said.version} of {said.tenant}, which is"
            f" {version.public_key.sha256.hex()}",
            hint="Look for the statement with the beginning of that number in its name.",
        )
    return version.state_now


def _print(found: Origin) -> None:
    said = found.statement
    print_line(
        f"{said.key}/{said.version} of {said.tenant} ({said.audience}), {said.kind}, {said.how} {said.at:%Y-%m-%dT%H:%M:%SZ}"
    )
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
