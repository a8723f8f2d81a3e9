"""``sigmill keys list`` and ``show``: compare the pinned keys with those in the tokens."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import click

from queueing.errors import KeyUnknown, SigningError, TokenUnavailable
from workers.cli.keys.key_locations import CertificateEnd, KeyLocation, key_locations
from workers.cli.keys.new_key import pem
from workers.cli.shell.options import chosen_tenants, config_option, json_option
from workers.cli.shell.output import (
    Exit,
    Output,
    Tally,
    emit,
    print_block,
    print_line,
    print_message,
    print_table,
)
from workers.config.loading import load_configuration

_REQUIRED_STATES: Final = frozenset({"next", "active"})


@click.command("list")
@config_option
@click.option("--tenant", metavar="TENANT", help="Only this tenant.")
@json_option
@click.pass_obj
def list_keys(output: Output, /, *, config: Path, tenant: str | None) -> Exit:
    """Compare the keys of the configuration with those in the tokens; each token is queried once.

    Exit code 1 if an active or next version is missing, or may not sign; 75 if a token cannot be queried.
    """
    configuration = load_configuration(config)
    locations = key_locations(configuration, chosen_tenants(configuration, tenant))
    if output.as_json:
        for location in locations:
            emit(location)
        return _exit(locations)
    head = (
        "TENANT",
        "KEY",
        "VERSION",
        "STATE",
        "KIND",
        "TOKEN",
        "FOUND",
        "CERTIFICATE",
        "LABEL",
        "SHA-256 OF SPKI",
    )
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
                _until(p),
                p.label,
                p.public_key_sha256[:16],
            )
            for p in locations
        ],
    )
    for location in locations:
        if location.error is not None:
            print_message(
                f"{location.tenant} {location.key}/{location.version} in {location.token}: {location.error.message}"
            )
    return _exit(locations)


@click.command()
@click.argument("key", metavar="KEY[/VERSION]")
@config_option
@click.option(
    "--tenant",
    metavar="TENANT",
    help="Tenant of the key; optional if only one tenant has a key of this name.",
)
@json_option
@click.pass_obj
def show(output: Output, /, *, key: str, config: Path, tenant: str | None) -> Exit:
    """Show a key: state, public key and token attributes of each version."""
    configuration = load_configuration(config)
    name, _, version = key.partition("/")
    owners = [t for t in chosen_tenants(configuration, tenant) if name in t.keys]
    if len(owners) != 1:
        raise KeyUnknown(
            f"{len(owners)} tenants have a key `{name}`" + ("; name one with --tenant" if owners else "")
        )
    locations = [
        p for p in key_locations(configuration, owners) if p.key == name and version in ("", str(p.version))
    ]
    if not locations:
        raise KeyUnknown(f"the key `{name}` has no version {version}")
    if output.as_json:
        for location in locations:
            emit(location)
        return _exit(locations)
    settings = owners[0].keys[name]
    print_line(f"tenant {owners[0].name}, key {name}, profile {settings.profile}")
    print_line(f"algorithms {', '.join(sorted(settings.algorithms))}; default {settings.default_algorithm}")
    for location in locations:
        _print_location(location)
    return _exit(locations)


def _print_location(location: KeyLocation) -> None:
    print_line()
    print_line(f"version {location.version}: {location.state}, {location.kind}")
    for certificate in location.certificates:
        print_line(f"certificate {_end(certificate)}, by {certificate.issuer}")
    if not location.certificates:
        print_line("certificate none")
    print_line(f"token {location.token}: found {_found(location)}, label {location.label or '-'}")
    if location.error is not None:
        print_line(f"problem: {location.error.message} [{location.error.code}]")
    for name, value in location.attributes.items():
        print_line(f"  {name} = {str(value).lower()}")
    print_line(f'public_key = "{location.public_key}"')
    print_line(f'public_key_sha256 = "{location.public_key_sha256}"')
    print_block(pem(base64.b64decode(location.public_key)))


def _until(location: KeyLocation) -> str | None:
    """The end of each certificate, the next one first."""
    return "; ".join(map(_end, location.certificates)) or None


def _end(certificate: CertificateEnd) -> str:
    name = f"{certificate.name} " if certificate.name else ""
    return f"{name}until {certificate.ends:%Y-%m-%d}"


def _found(location: KeyLocation) -> str:
    if location.found is None:
        return "unknown"
    if location.key is None:
        return "not pinned"
    return "yes" if location.found else "NO"


def _exit(locations: list[KeyLocation]) -> Exit:
    tally = Tally()
    for location in locations:
        if location.state in _REQUIRED_STATES:
            tally.add(_as_error(location))
    return tally.exit_code()


def _as_error(location: KeyLocation) -> SigningError | None:
    if location.found:
        return None
    return TokenUnavailable() if location.found is None else SigningError("the key is not in the token")
