"""``sigmill keys create`` and ``adopt``: print a key of a token and the TOML that configures it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.errors import SigningError, TokenUnavailable
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.key_directory import KeyState
from queueing.protocol.public_keys import PublicKey
from workers.cli.keys.key_request import KIND_NAMES, KeyRequest, placeholder_key
from workers.cli.keys.request import (
    RequestArguments,
    RequestedCertificate,
    present_certificate,
    print_request,
    request_options,
)
from workers.cli.shell.options import combined, config_option, json_option
from workers.cli.shell.output import Output, emit, print_block, print_message
from workers.config.loading import load_scope

if TYPE_CHECKING:
    from workers.token_admin.client import TokenAdmin
    from workers.token_admin.messages import KeyFacts

_SERVICE_LABEL: Final = "sigmill.service.v{version}"


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key in its token, and the TOML that pins it. Public key: SPKI in base64, and as PEM."""

    tenant: str | None
    key: str
    version: int
    state: str
    token: str
    label: str
    key_id: str
    kind: KeyKind
    public_key: str
    public_key_sha256: str
    public_key_pem: str
    attributes: dict[str, bool]
    toml: str
    written: str | None


key_options = combined(
    config_option,
    click.option("--tenant", help="Tenant of the key."),
    click.option("--service", is_flag=True, help="The service key, which signs the key directories."),
    click.option("--key", help="Name of the key."),
    click.option("--token", required=True, help="The [tokens.NAME] that holds the key."),
    click.option("--version", type=click.IntRange(1, 2**31), help="Default: the next one."),
    click.option(
        "--state",
        type=click.Choice(["next", "active", "verify-only"]),
        help="Default: active for the first version, next for later ones.",
    ),
    click.option(
        "--algorithm",
        "algorithms",
        multiple=True,
        type=click.Choice([str(a) for a in Algorithm]),
        help="Algorithm allowed for a new key; may be repeated. Default: the usual one of its kind.",
    ),
    click.option(
        "--client",
        "clients",
        multiple=True,
        metavar="NAME",
        help="Client allowed to use a new key; may be repeated. Default: *, every client of the tenant.",
    ),
    click.option(
        "--profile",
        type=click.Choice(["code-signing", "internal"]),
        default="code-signing",
        show_default=True,
        help="Purpose of a new key; code-signing refuses RSA below 3072 bits.",
    ),
    click.option("--write", is_flag=True, help="Also add the key to the tenant's file."),
    json_option,
)


class KeyArguments(TypedDict):
    """Values of ``key_options``, as click passes them to a command."""

    config: Path
    tenant: str | None
    service: bool
    key: str | None
    token: str
    version: int | None
    state: KeyState | None
    algorithms: tuple[str, ...]
    clients: tuple[str, ...]
    profile: str
    write: bool


class _CreateArguments(KeyArguments, RequestArguments):
    """Options of ``keys create``."""


@click.command()
@key_options
@click.option(
    "--type",
    "kind_name",
    required=True,
    type=click.Choice(list(KIND_NAMES)),
    help="Kind and size of the key.",
)
@click.option("--label", help="CKA_LABEL in the token. Default: TENANT.KEY.vVERSION.")
@click.option(
    "--request", "with_request", is_flag=True, help="Also print a certificate request (needs --subject)."
)
@request_options
@click.pass_obj
def create(
    output: Output,
    /,
    *,
    kind_name: str,
    label: str | None,
    with_request: bool,
    **arguments: Unpack[_CreateArguments],
) -> None:
    """Create a key inside a token: sensitive, never extractable, for signing only.

    Checks first that the configuration is valid with the new key. Prints the public key, its fingerprint and the
    lines for the tenant's file; --write adds them to the file. --request also prints a certificate request, signed by
    the new key; see `sigmill keys request`.
    """
    request = _request(arguments)
    kind = KIND_NAMES[kind_name]
    admin = request.token_admin()
    request.check(placeholder_key(kind))
    wanted = _requested_certificate(request, arguments) if with_request else None
    label = label or _label(request)
    facts = _created(admin, kind, label)
    version = request.version_number()
    _print_key(request, facts, as_json=output.as_json)
    if wanted is None or request.tenant is None:
        return
    try:
        line = wanted.signed_line(
            admin,
            PublicKey.from_spki(facts.public_key),
            tenant=request.tenant,
            key=request.key,
            version=version,
        )
    except SigningError as error:
        raise _request_failed(error, request, facts) from error
    print_request(output, line)


@click.command()
@key_options
@click.option("--label", help="CKA_LABEL of the key to adopt.")
@click.option("--id", "key_id", metavar="HEX", help="CKA_ID of the key to adopt.")
@click.pass_obj
def adopt(
    output: Output, /, *, label: str | None, key_id: str | None, **arguments: Unpack[KeyArguments]
) -> None:
    """Register an existing key of the token, created there by the vendor's tools.

    Refuses a key that is or ever was extractable, was not generated in the token (CKA_LOCAL), may not sign, or is
    not found exactly once.
    """
    request = _request(arguments)
    facts = request.token_admin().adopt(
        label=label or (None if key_id else _label(request)), key_id=_hex(key_id)
    )
    request.check(PublicKey.from_spki(facts.public_key))
    _print_key(request, facts, as_json=output.as_json)


def _request(arguments: KeyArguments) -> KeyRequest:
    tenant, key, service = arguments["tenant"], arguments["key"], arguments["service"]
    if service == (tenant is not None) or (tenant is not None) != (key is not None):
        raise click.UsageError("give --tenant and --key, or --service")
    if service and arguments["write"]:
        raise click.UsageError("the service key must be added by hand: omit --write")
    return KeyRequest(
        scope=load_scope(arguments["config"]),
        tenant=tenant,
        key=key or "service",
        token=arguments["token"],
        version=arguments["version"],
        state=arguments["state"],
        algorithms=tuple(Algorithm(name) for name in arguments["algorithms"]),
        profile=arguments["profile"],
        clients=arguments["clients"],
        write=arguments["write"],
    )


def _requested_certificate(request: KeyRequest, arguments: _CreateArguments) -> RequestedCertificate:
    if request.tenant is None:
        raise click.UsageError("the service key needs no certificate: omit --request")
    return RequestedCertificate.of(arguments, renewed=present_certificate(request.configured()))


def _created(admin: TokenAdmin, kind: KeyKind, label: str) -> KeyFacts:
    """The new key; an error after which it may be in the token nevertheless says how to find it."""
    try:
        return admin.create(kind, label)
    except TokenUnavailable as error:
        raise TokenUnavailable(
            error.message,
            hint=f"The token may have made the key before. When it is back, `sigmill keys adopt --label {label}` takes it"
            " over, and if there is none, create it again.",
        ) from error


def _request_failed(error: SigningError, request: KeyRequest, facts: KeyFacts) -> SigningError:
    """The error of a request whose key was created: it names the key, which is neither lost nor to be made again."""
    made = (
        f"the key was created (token {request.token}, label {facts.label!r}, CKA_ID {facts.key_id}), but its certificate"
        f" request was not: {error.message}"
    )
    words = f"--tenant {request.tenant} --key {request.key}"
    first = (
        ""
        if request.write
        else f"`sigmill keys adopt {words} --token {request.token} --label {facts.label} --write`, then "
    )
    return type(error)(made, hint=f"Do not create it again: {first}`sigmill keys request {words}`.")


def _label(request: KeyRequest) -> str:
    if request.tenant is None:
        return _SERVICE_LABEL.format(version=request.version_number())
    return f"{request.tenant}.{request.key}.v{request.version_number()}"


def _hex(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text.replace(":", "")).hex()
    except ValueError:
        raise click.BadParameter("CKA_ID must be in hex", param_hint="--id") from None


def _print_key(request: KeyRequest, facts: KeyFacts, *, as_json: bool) -> None:
    public_key = PublicKey.from_spki(facts.public_key)
    new = request.new_version(public_key)
    line = NewKey(
        tenant=request.tenant,
        key=request.key,
        version=new.version,
        state=new.state,
        token=request.token,
        label=facts.label,
        key_id=facts.key_id,
        kind=facts.kind,
        public_key=base64.b64encode(facts.public_key).decode(),
        public_key_sha256=public_key.sha256.hex(),
        public_key_pem=pem(facts.public_key),
        attributes=facts.attributes,
        toml=request.toml(new),
        written=str(request.write_version(new)) if request.write else None,
    )
    if as_json:
        emit(line)
        return
    print_block(
        f"{line.public_key_pem}SHA-256 of the public key (SPKI): {line.public_key_sha256}\n\n{line.toml}"
    )
    print_message(f"{facts.kind} in token {request.token} as {facts.label!r}, CKA_ID {facts.key_id}")
    if request.tenant is None:
        print_message(
            f"paste the TOML into {request.file()} and restart the workers; clients pin the public key"
        )
    elif line.written:
        print_message(f"written to {line.written}; run `sigmill tenants reload` to use it")
    else:
        print_message(
            f"paste the TOML into {request.file()}, raise its epoch, then run `sigmill tenants reload`"
        )


def pem(spki: bytes) -> str:
    """Public key as PEM."""
    return load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
