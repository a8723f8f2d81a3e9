"""``sigmill keys create`` and ``adopt``: print a key of a token and the TOML that configures it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypedDict, Unpack

import click

from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.key_directory import KeyState
from queueing.protocol.public_keys import PublicKey, placeholder_key
from workers.cli.keys.creation_lock import one_creation_at_a_time
from workers.cli.keys.key_request import KIND_NAMES, KeyRequest, print_preview
from workers.cli.keys.new_key import (
    Papers,
    make_key,
    print_key,
)
from workers.cli.keys.origins.options import OriginArguments, origin_options, wanted_witnesses
from workers.cli.keys.request import (
    RequestArguments,
    RequestedCertificate,
    present_certificate,
    request_options,
)
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import combined, config_option, dry_run_option, json_option
from workers.cli.shell.output import Output, print_message
from workers.config.loading import load_scope
from workers.pki.schemes import openssl_verifies_cms

_MOST_LABEL_CHARACTERS: Final = 255
"""Of CKA_LABEL: tokens store more, but their makers' tools cut it off."""

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


class _CreateArguments(KeyArguments, RequestArguments, OriginArguments):
    """Options of ``keys create``."""

    dry_run: bool


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
@origin_options
@dry_run_option
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
    if label is not None and not (label.isprintable() and 0 < len(label) <= _MOST_LABEL_CHARACTERS):
        raise click.BadParameter("a label has 1 to 255 printable characters", param_hint="--label")
    request = _request(arguments)
    with one_creation_at_a_time(request.scope):
        _create(output, request, KIND_NAMES[kind_name], label, arguments, with_request=with_request)


def _create(
    output: Output,
    request: KeyRequest,
    kind: KeyKind,
    label: str | None,
    arguments: _CreateArguments,
    *,
    with_request: bool,
) -> None:
    edited = request.check(placeholder_key(kind))
    _warn_of_service_kind(request, kind)
    papers = Papers(
        event="created",
        certificate=_requested_certificate(request, arguments) if with_request else None,
        witnesses=wanted_witnesses(arguments, request.scope, tenant=request.tenant),
        left_out=arguments["with_origin"] is False,
    )
    if arguments["dry_run"]:
        print_preview(output, request, kind, label, edited)
    else:
        make_key(output, request, kind, label, papers)


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
        label=label or (None if key_id else request.default_label()), key_id=_hex(key_id)
    )
    public_key = PublicKey.from_spki(facts.public_key)
    request.check(public_key)
    _warn_of_service_kind(request, public_key.kind)
    version = request.version_number()
    print_key(request, facts, as_json=output.as_json)
    if request.tenant is None:
        return
    keep_key_event(
        request.scope,
        "adopted",
        tenant=request.tenant,
        key=request.key,
        version=version,
        public_key=public_key,
    )
    print_message(
        f"`sigmill keys origin create --tenant {request.tenant} --key {request.key}/{version}` makes a statement of its origin"
    )


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


def _warn_of_service_kind(request: KeyRequest, kind: KeyKind) -> None:
    """Say what a service key of this kind cannot do; clients pin it, so it is not changed lightly."""
    if request.tenant is None and not openssl_verifies_cms(kind):
        print_message(
            f"warning: OpenSSL before 3.5 verifies no CMS by an {kind} key (RFC 8419): there `openssl cms -verify` says `invalid digest`"
            " of each origin statement of this service key, and `sigmill keys origin verify` alone checks them. For auditors without"
            " Sigmill: --type p256"
        )


def _requested_certificate(request: KeyRequest, arguments: _CreateArguments) -> RequestedCertificate:
    if request.tenant is None:
        raise click.UsageError("the service key needs no certificate: omit --request")
    return RequestedCertificate.of(arguments, renewed=present_certificate(request.configured()))


def _hex(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text.replace(":", "")).hex()
    except ValueError:
        raise click.BadParameter("CKA_ID must be in hex", param_hint="--id") from None
