"""``sigmill keys list`` and ``show``: what the configuration pins, against what stands in the tokens."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import click

from queueing.errors import KeyUnknown, SigningError, TokenUnavailable
from workers.cli.keys.create_adopt import pem
from workers.cli.keys.key_locations import KeyPlace, key_places
from workers.cli.shell.options import chosen_tenants, config_option, json_option
from workers.cli.shell.output import Exit, Output, Tally, emit, print_message, print_table
from workers.config.loading import load_configuration

_MUST_BE_THERE: Final = frozenset({"next", "active"})


@click.command("list")
@config_option
@click.option("--tenant", metavar="TENANT", help="Only this tenant.")
@json_option
@click.pass_obj
def list_keys(output: Output, /, *, config: Path, tenant: str | None) -> Exit:
    """Compare the keys of the configuration with those in the tokens; each token is asked once.

    Exit code 1 if an active or next version is not there, or may not sign; 75 if a token cannot be asked.
    """
    configuration = load_configuration(config)
    places = key_places(configuration, chosen_tenants(configuration, tenant))
    if output.as_json:
        for place in places:
            emit(place)
        return _exit(places)
    head = ("TENANT", "KEY", "VERSION", "STATE", "KIND", "TOKEN", "FOUND", "LABEL", "SHA-256 OF SPKI")
    print_table(
        head,
        [
            (
                p.tenant,
                p.key,
                p.version,
                p.state,
                p.kind,
                p.token,
                _found(p),
                p.label,
                p.public_key_sha256[:16],
            )
            for p in places
        ],
    )
    for place in places:
        if place.error is not None:
            print_message(
                f"{place.tenant} {place.key}/{place.version} in {place.token}: {place.error.message}"
            )
    return _exit(places)


@click.command()
@click.argument("key", metavar="KEY[/VERSION]")
@config_option
@click.option("--tenant", metavar="TENANT", help="Whose key it is; may be left out where one tenant has it.")
@json_option
@click.pass_obj
def show(output: Output, /, *, key: str, config: Path, tenant: str | None) -> Exit:
    """Show a key: for each version its state, public key, and the attributes it has in its tokens."""
    configuration = load_configuration(config)
    name, _, version = key.partition("/")
    owners = [t for t in chosen_tenants(configuration, tenant) if name in t.keys]
    if len(owners) != 1:
        raise KeyUnknown(
            f"{len(owners)} tenants have a key `{name}`" + ("; name one with --tenant" if owners else "")
        )
    places = [
        p for p in key_places(configuration, owners) if p.key == name and version in ("", str(p.version))
    ]
    if not places:
        raise KeyUnknown(f"the key `{name}` has no version {version}")
    if output.as_json:
        for place in places:
            emit(place)
        return _exit(places)
    settings = owners[0].keys[name]
    click.echo(f"tenant {owners[0].name}, key {name}, profile {settings.profile}")
    click.echo(f"algorithms {', '.join(sorted(settings.algorithms))}; default {settings.default_algorithm}")
    for place in places:
        _print_place(place)
    return _exit(places)


def _print_place(place: KeyPlace) -> None:
    click.echo(f"\nversion {place.version}: {place.state}, {place.kind}")
    click.echo(f"token {place.token}: found {_found(place)}, label {place.label or '-'}")
    if place.error is not None:
        click.echo(f"problem: {place.error.message} [{place.error.code}]")
    for name, value in place.attributes.items():
        click.echo(f"  {name} = {str(value).lower()}")
    click.echo(f'public_key = "{place.public_key}"')
    click.echo(f'public_key_sha256 = "{place.public_key_sha256}"')
    click.echo(pem(base64.b64decode(place.public_key)), nl=False)


def _found(place: KeyPlace) -> str:
    if place.found is None:
        return "unknown"
    if place.key is None:
        return "not pinned"
    return "yes" if place.found else "NO"


def _exit(places: list[KeyPlace]) -> Exit:
    tally = Tally()
    for place in places:
        if place.state in _MUST_BE_THERE:
            tally.add(_as_error(place))
    return tally.exit_code()


def _as_error(place: KeyPlace) -> SigningError | None:
    if place.found:
        return None
    return TokenUnavailable() if place.found is None else SigningError("the key is not there")
