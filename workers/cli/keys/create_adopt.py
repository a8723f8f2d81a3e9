"""``sigmill keys create`` and ``adopt``: a key in a token, and the lines that enter it in the configuration."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.cli.keys.key_request import KIND_NAMES, KeyRequest, stand_in
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Output, emit, print_message
from workers.config.loading import load_premises

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.token_admin.messages import KeyFacts

F = TypeVar("F", bound="Callable[..., Any]")

_SERVICE_LABEL: Final = "sigmill.service.v{version}"


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it stands in its token, and the TOML that pins it. Public key: SPKI in base64, and as PEM."""

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


def wish_options(command: F) -> F:
    """What ``create`` and ``adopt`` share."""
    for decorate in (
        json_option,
        click.option("--write", is_flag=True, help="Enter the key in the tenant's file as well."),
        click.option(
            "--profile", type=click.Choice(["code-signing", "internal"]), default="code-signing", show_default=True,
            help="What a new key is for; code-signing refuses RSA below 3072.",
        ),
        click.option(
            "--client", "clients", multiple=True, metavar="NAME",
            help="Who may use a new key; may be repeated. Default: *, every client of the tenant.",
        ),
        click.option(
            "--algorithm", "algorithms", multiple=True, type=click.Choice([str(a) for a in Algorithm]),
            help="What a new key signs with; may be repeated. Default: the usual one of its kind.",
        ),
        click.option(
            "--state", type=click.Choice(["next", "active", "verify-only"]),
            help="Default: active for the first version, next for later ones.",
        ),
        click.option("--version", type=click.IntRange(1, 2**31), help="Default: the next one."),
        click.option("--token", required=True, help="The [tokens.NAME] that holds it."),
        click.option("--key", help="The key's name."),
        click.option("--service", is_flag=True, help="The service key, which signs the key directories."),
        click.option("--tenant", help="The tenant whose key it is."),
        config_option,
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.command()
@wish_options
@click.option(
    "--type", "kind_name", required=True, type=click.Choice(list(KIND_NAMES)), help="Kind and size."
)
@click.option("--label", help="CKA_LABEL in the token. Default: TENANT.KEY.vVERSION.")
@click.pass_obj
def create(output: Output, /, *, kind_name: str, label: str | None, **given: Any) -> None:
    """Make a key inside a token: sensitive, never extractable, for signing only.

    Nothing is made unless the configuration can take it. Prints the public key, its fingerprint and the lines
    for the tenant's file; with --write they are entered there.
    """
    wish = _wish(**given)
    kind = KIND_NAMES[kind_name]
    desk = wish.desk()
    wish.check(stand_in(kind))
    facts = desk.create(kind, label or _label(wish))
    _finish(wish, facts, as_json=output.as_json)


@click.command()
@wish_options
@click.option("--label", help="CKA_LABEL of the key to adopt.")
@click.option("--id", "key_id", metavar="HEX", help="CKA_ID of the key to adopt.")
@click.pass_obj
def adopt(output: Output, /, *, label: str | None, key_id: str | None, **given: Any) -> None:
    """Register a key that is in the token already, made there by the vendor's own tools.

    Refused: a key that is or ever was extractable, was not made in the token (CKA_LOCAL), may not sign, or is
    found not exactly once.
    """
    wish = _wish(**given)
    facts = wish.desk().adopt(label=label or (None if key_id else _label(wish)), key_id=_hex(key_id))
    wish.check(PublicKey.from_spki(facts.public_key))
    _finish(wish, facts, as_json=output.as_json)


def _wish(
    *, config: Path, tenant: str | None, service: bool, write: bool, key: str | None,
    algorithms: tuple[str, ...], **rest: Any,
) -> KeyRequest:  # fmt: skip
    if service == (tenant is not None) or (tenant is not None) != (key is not None):
        raise click.UsageError("give --tenant and --key, or --service")
    if service and write:
        raise click.UsageError("the service key is entered by hand: leave --write out")
    return KeyRequest(
        premises=load_premises(config),
        tenant=tenant,
        key=key or "service",
        write=write,
        algorithms=tuple(Algorithm(name) for name in algorithms),
        **rest,
    )


def _label(wish: KeyRequest) -> str:
    if wish.tenant is None:
        return _SERVICE_LABEL.format(version=wish.number())
    return f"{wish.tenant}.{wish.key}.v{wish.number()}"


def _hex(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text.replace(":", "")).hex()
    except ValueError:
        raise click.BadParameter("CKA_ID is written in hex", param_hint="--id") from None


def _finish(wish: KeyRequest, facts: KeyFacts, *, as_json: bool) -> None:
    public_key = PublicKey.from_spki(facts.public_key)
    new = wish.entry(public_key)
    made = MadeKey(
        tenant=wish.tenant,
        key=wish.key,
        version=new.version,
        state=new.state,
        token=wish.token,
        label=facts.label,
        key_id=facts.key_id,
        kind=facts.kind,
        public_key=base64.b64encode(facts.public_key).decode(),
        public_key_sha256=public_key.sha256.hex(),
        public_key_pem=pem(facts.public_key),
        attributes=facts.attributes,
        toml=wish.toml(new),
        written=str(wish.enter(new)) if wish.write else None,
    )
    if as_json:
        emit(made)
        return
    click.echo(
        f"{made.public_key_pem}SHA-256 of the public key (SPKI): {made.public_key_sha256}\n\n{made.toml}",
        nl=False,
    )
    print_message(f"{facts.kind} in token {wish.token} as {facts.label!r}, CKA_ID {facts.key_id}")
    if wish.tenant is None:
        print_message(
            f"paste the TOML into {wish.file()}; workers take it at their start, clients pin the public key"
        )
    elif made.written:
        print_message(f"written to {made.written}; `sigmill tenants reload` makes the workers use it")
    else:
        print_message(f"paste the TOML into {wish.file()}, raise its epoch, then `sigmill tenants reload`")


def pem(spki: bytes) -> str:
    """The public key as PEM."""
    return load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
