"""``sigmill tenants``: list, show and reload; acl is a module of its own.

acl  ``sigmill tenants acl``

It never imports `workers.token_admin`: tenants are shown from their files.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from queueing.errors import ConfigError, TokenUnavailable
from queueing.protocol.stop_orders import read_order
from workers.cli.commands import TENANTS, LazyGroup
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message, print_table
from workers.config.loading import load_configuration, load_scope
from workers.state.directory import reading_state
from workers.state.running_workers import ReloadReport, last_report, running_workers
from workers.state.stop_orders import StopOrderFolder

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant

_ANSWER_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.02


class StopLine(msgspec.Struct, frozen=True, kw_only=True):
    """A stop order against a tenant; ``lifted`` if the tenant's file lists its id."""

    order: str
    scope: str
    name: str
    operator: str
    reason: str
    lifted: bool


class TenantLine(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant of the configuration. ``keys`` and ``clients`` by name, with a summary of each."""

    tenant: str
    epoch: int
    state: str
    tokens: tuple[str, ...]
    keys: dict[str, str]
    clients: dict[str, str]
    stops: tuple[StopLine, ...]


class ReloadLine(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a reload on one worker; ``report`` None: no answer in time."""

    worker: int
    report: ReloadReport | None


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
    """Show one tenant: its keys with their policies, its clients, and the stop orders known on this host."""
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
    for kind, members in (("key", line.keys), ("client", line.clients)):
        for name, summary in members.items():
            print_line(f"{kind} {name}: {summary}")
    for stop in line.stops:
        effect = "lifted" if stop.lifted else "in force"
        print_line(
            f"stop {stop.order}: {stop.scope} {stop.name or line.tenant}, by {stop.operator}, {effect}: {stop.reason}"
        )
    return Exit.DONE


@click.command()
@config_option
@json_option
@click.pass_obj
def reload(output: Output, /, *, config: Path) -> Exit:
    """Reload the configuration on this host's workers, and wait until they and their lanes have applied it.

    Exit code 2 if a worker rejects the configuration: it then keeps the old one as a whole. 75 if no worker runs
    here.
    """
    scope = load_scope(config)
    state_dir = scope.state_dir
    with reading_state(scope.file):
        workers = list(running_workers(state_dir))
    if not workers:
        raise TokenUnavailable(f"no worker runs with the state directory {state_dir}")
    sent_ns = time.monotonic_ns()
    for pid in workers:
        os.kill(pid, signal.SIGHUP)
    lines = [ReloadLine(worker=pid, report=_wait(state_dir, pid, sent_ns)) for pid in workers]
    for line in lines:
        emit(line) if output.as_json else _print_report(line)
    if any(line.report is not None and line.report.outcome == "refused" for line in lines):
        return Exit.USAGE
    complete = all(line.report is not None and not line.report.lanes for line in lines)
    return Exit.DONE if complete else Exit.RETRY


def _wait(state_dir: Path, pid: int, sent_ns: int) -> ReloadReport | None:
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        report = last_report(state_dir, pid)
        if report is not None and report.started_ns >= sent_ns:
            return report
        if pid not in running_workers(state_dir):
            return None
        time.sleep(_POLL_S)
    return None


def _print_report(line: ReloadLine) -> None:
    report = line.report
    if report is None:
        print_message(f"worker {line.worker}: no answer in time; see its log")
        return
    if report.outcome == "refused":
        print_message(
            f"error: worker {line.worker} keeps the old configuration: {report.problem} [config.invalid]"
        )
        print_message(f"hint: {report.remedy}")
        return
    parts = [f"worker {line.worker}: {report.outcome} in {report.took_s:.2f} s"]
    parts += [f"changed: {', '.join(report.changed)}"] if report.changed else []
    parts += [f"removed: {', '.join(report.gone)}"] if report.gone else []
    parts += [f"needs a restart: {', '.join(report.waiting)}"] if report.waiting else []
    print_message("; ".join(parts))
    for problem in report.lanes:
        print_message(f"worker {line.worker}: lane {problem}")


def _line(configuration: Configuration, tenant: Tenant) -> TenantLine:
    return TenantLine(
        tenant=tenant.name,
        epoch=tenant.epoch,
        state="suspended" if tenant.suspended else "active",
        tokens=tuple(sorted(tenant.tokens)),
        keys={
            name: f"{', '.join(sorted(key.algorithms))}; versions "
            + ", ".join(f"{v.version} {v.state}" for v in key.versions)
            + f"; {key.policy}"
            for name, key in tenant.keys.items()
        },
        clients={name: "revoked" if c.revoked else "active" for name, c in tenant.clients.items()},
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
