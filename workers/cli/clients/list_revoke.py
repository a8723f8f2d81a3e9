"""``sigmill clients list`` and ``revoke``: client keys of the tenants, for operators."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import click
import msgspec

from queueing.errors import ClientUnknown
from queueing.unix_time import from_unix_ms, unix_ms
from workers.cli.shell.options import chosen_tenants, config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message, print_table
from workers.config.loading import load_configuration, load_scope
from workers.config.tenant_edits import revoke_client
from workers.config.tenant_file import load_tenant
from workers.config.tenant_writer import edit_tenant
from workers.config.tenants import TenantClient


class ClientLine(msgspec.Struct, frozen=True, kw_only=True):
    """A client of a tenant. ``state``: active, expired or revoked. Public key: SPKI in base64."""

    tenant: str
    client: str
    state: str
    expires: str
    public_key: str
    public_key_sha256: str


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """Result of ``revoke``; ``epoch`` is the tenant's epoch afterwards."""

    tenant: str
    client: str
    was_active: bool
    epoch: int
    file: str


@click.command("list")
@config_option
@click.option("--tenant", metavar="TENANT", help="Only this tenant.")
@json_option
@click.pass_obj
def list_clients(output: Output, /, *, config: Path, tenant: str | None) -> Exit:
    """List the clients with their state and expiry."""
    now_ms = unix_ms()
    lines = [
        _line(chosen.name, client, now_ms)
        for chosen in chosen_tenants(load_configuration(config), tenant)
        for client in chosen.clients.values()
    ]
    if output.as_json:
        for line in lines:
            emit(line)
        return Exit.DONE
    print_table(
        ("TENANT", "CLIENT", "STATE", "EXPIRES", "SHA-256 OF SPKI"),
        [(x.tenant, x.client, x.state, x.expires, x.public_key_sha256[:16]) for x in lines],
    )
    return Exit.DONE


@click.command()
@click.argument("name")
@config_option
@click.option("--tenant", metavar="TENANT", required=True, help="Tenant of the client.")
@json_option
@click.pass_obj
def revoke(output: Output, /, *, name: str, config: Path, tenant: str) -> Exit:
    """Revoke the client NAME; its queued jobs are refused, too.

    Writes `state = "revoked"` and the next epoch to the tenant's file. Run `sigmill tenants reload` afterwards to
    apply it.
    """
    scope = load_scope(config)
    file = scope.tenant_file(tenant)
    before = load_tenant(file, scope.tokens)
    if name not in before.clients:
        raise ClientUnknown(f"the tenant `{tenant}` has no client `{name}`")
    active = not before.clients[name].revoked
    after = edit_tenant(scope, tenant, lambda text: revoke_client(text, name)).tenant if active else before
    if output.as_json:
        emit(Revoked(tenant=tenant, client=name, was_active=active, epoch=after.epoch, file=str(file)))
    elif active:
        print_message(f"revoked in {file}, epoch {after.epoch}; run `sigmill tenants reload` to apply it")
    else:
        print_message(f"{name} is revoked already; nothing was changed")
    return Exit.DONE


def _line(tenant: str, client: TenantClient, now_ms: int) -> ClientLine:
    spki = client.public_key.spki
    state = "revoked" if client.revoked else "expired" if client.expires_at_ms <= now_ms else "active"
    expires = from_unix_ms(client.expires_at_ms)
    return ClientLine(
        tenant=tenant,
        client=client.name,
        state=state,
        expires=f"{expires:%Y-%m-%dT%H:%M:%SZ}",
        public_key=base64.b64encode(spki).decode(),
        public_key_sha256=hashlib.sha256(spki).hexdigest(),
    )
