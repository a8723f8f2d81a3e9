"""``sigmill tenants``: list and show.

acl     ``sigmill tenants acl``
reload  ``sigmill tenants reload``

It never imports `workers.token_admin`: tenants are shown from their files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.errors import ConfigError
from queueing.protocol.stop_orders import read_order
from workers.cli.commands import TENANTS, LazyGroup
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_table
from workers.config.loading import load_configuration
from workers.state.directory import reading_state
from workers.state.stop_orders import StopOrderFolder

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant


class StopLine(msgspec.Struct, frozen=True, kw_only=True):
    """A stop order against a tenant; ``lifted`` if the tenant's file lists its id."""

    order: str
    scope: str
    name: str
    operator: str
    reason: str
    lifted: bool


class TenantLine(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant of the configuration. ``keys``, ``clients`` and ``issuers`` by name, with a summary of each."""

    tenant: str
    epoch: int
    state: str
    tokens: tuple[str, ...]
    keys: dict[str, str]
    clients: dict[str, str]
    issuers: dict[str, str]
    stops: tuple[StopLine, ...]


@click.group(cls=LazyGroup, table=TENANTS, no_args_is_help=True)
def tenants() -> None:
    """List and show tenants, reload their configuration, print their Redis ACLs."""


@click.command("list")
@config_option
@json_option
@click.pass_obj
def list_tenants(output: Output, /, *, config: Path) -> Exit:
    """List the tenants in the configuration files."""
    configuration = load_configuration(config)
    lines = [_line(configuration, tenant) for tenant in configuration.tenants.values()]
    if output.as_json:
        for line in lines:
            emit(line)
        return Exit.DONE
    print_table(
        ("TENANT", "EPOCH", "STATE", "KEYS", "CLIENTS", "TOKENS", "STOPS"),
        [
            (
                x.tenant,
                x.epoch,
                x.state,
                len(x.keys),
                len(x.clients),
                ",".join(x.tokens),
                sum(not s.lifted for s in x.stops),
            )
            for x in lines
        ],
    )
    return Exit.DONE


@click.command()
@click.argument("tenant")
@config_option
@json_option
@click.pass_obj
def show(output: Output, /, *, tenant: str, config: Path) -> Exit:
    """Show one tenant: its keys with their policies, its clients and issuers, and the stop orders known on this host."""
    configuration = load_configuration(config)
    found = configuration.tenants.get(tenant)
    if found is None:
        file = configuration.service.tenant_file(tenant)
        raise ConfigError(str(file), "", "no such tenant", "`sigmill tenants list` prints the names.")
    line = _line(configuration, found)
    if output.as_json:
        emit(line)
        return Exit.DONE
    print_line(f"tenant {line.tenant}, epoch {line.epoch}, {line.state}; tokens {', '.join(line.tokens)}")
    for kind, members in (("key", line.keys), ("client", line.clients), ("issuer", line.issuers)):
        for name, summary in members.items():
            print_line(f"{kind} {name}: {summary}")
    for stop in line.stops:
        effect = "lifted" if stop.lifted else "in force"
        print_line(
            f"stop {stop.order}: {stop.scope} {stop.name or line.tenant}, by {stop.operator}, {effect}: {stop.reason}"
        )
    return Exit.DONE


def _line(configuration: Configuration, tenant: Tenant) -> TenantLine:
    return TenantLine(
        tenant=tenant.name,
        epoch=tenant.epoch,
        state="suspended" if tenant.suspended else "active",
        tokens=tuple(sorted(tenant.tokens)),
        keys={
            name: f"{', '.join(sorted(key.algorithms))}; versions "
            + ", ".join(f"{v.version} {v.state_now}" for v in key.versions)
            + f"; {key.policy}"
            for name, key in tenant.keys.items()
        },
        clients={name: "revoked" if c.revoked else "active" for name, c in tenant.clients.items()},
        issuers={
            name: f"{'revoked' if i.revoked else 'active'}; grants of {i.max_grant_ms // 1000} s and {i.max_digests} digests"
            for name, i in tenant.issuers.items()
        },
        stops=_stops(configuration, tenant),
    )


def _stops(configuration: Configuration, tenant: Tenant) -> tuple[StopLine, ...]:
    service = configuration.service
    with reading_state(service.file):
        signed = StopOrderFolder(service.state_dir).read(service.audience).values()
    orders = [read_order(order, service.audience) for order in signed]
    return tuple(
        StopLine(
            order=order.hex_id,
            scope=order.scope,
            name=order.name,
            operator=order.operator,
            reason=order.reason,
            lifted=order.order_id in tenant.lifted_orders,
        )
        for order in orders
        if order.tenant == tenant.name
    )
