"""``sigmill keys activate``: a key version becomes the active one, and the former one verify-only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Unpack

import click
import msgspec

from queueing.errors import KeyDisabled
from queueing.protocol.stop_orders import read_order
from queueing.unix_time import in_unix_ms
from workers.cli.keys.pinned_version import find_version, version_options
from workers.cli.keys.version_states import (
    ENDED,
    StateArguments,
    StateLine,
    change_states,
    plain_state,
    print_states,
    reload_here,
    reload_option,
)
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import Duration, dry_run_option, json_option
from workers.cli.shell.output import Exit, Output, print_message
from workers.config.loading import load_scope
from workers.config.stop_rules import in_force
from workers.state.directory import reading_state
from workers.state.stop_orders import StopOrderFolder

if TYPE_CHECKING:
    from queueing.protocol.key_directory import KeyState
    from workers.cli.keys.pinned_version import PinnedVersion
    from workers.config.tenant_edits import Changes
    from workers.config.tenant_writer import EditedTenant
    from workers.config.tenants import KeyVersion, TenantKey

AT_ONCE: Final = timedelta(seconds=5)
"""Time until a version that is activated at once signs: by then the key directory with it is published."""

LATEST: Final = timedelta(days=3653)
"""Time ahead of an activation, and length of an overlap: ten years, longer than any certificate of a key."""

OVERLAP_S: Final = 600.0
"""Several times the clients' ``directory_refresh_s``: tools that name the version of their directory fail no job."""


class _ActivateArguments(StateArguments):
    at: str | None
    overlap: float
    lift: bool


@click.command()
@version_options
@click.option(
    "--at", metavar="TIME", help="Activate at this time: 2026-12-01T06:00:00Z. Default: in five seconds."
)
@click.option(
    "--overlap",
    type=Duration(),
    default=OVERLAP_S,
    help="Time for which the former version still signs for callers that name it (1h, 2d). Default: 10m.",
)
@click.option(
    "--lift", is_flag=True, help="Lift the stop orders of this version: their ids go into the tenant's file."
)
@reload_option
@dry_run_option
@json_option
@click.pass_obj
def activate(output: Output, /, **arguments: Unpack[_ActivateArguments]) -> Exit:
    """Make a key version the active one; the former one becomes verify-only.

    Without a version: the newest `next` one. Jobs that name no version take the new one from then on, also those in the
    queue; jobs for KEY/1 take the old one as long as it signs (--overlap). A verify-only version can be activated
    again. Reloads this host's workers; the others need the file and `sigmill tenants reload` before the time.
    """
    scope = load_scope(arguments["config"])
    pinned = find_version(scope, arguments["tenant"], arguments["key"], wanted=("next",))
    now = datetime.now(UTC)
    at = _moment(arguments["at"], now)
    if arguments["overlap"] > LATEST.total_seconds():
        raise click.BadParameter("is more than ten years", param_hint="--overlap")
    until = at + timedelta(seconds=arguments["overlap"])
    lifted = _lifted_orders(pinned, lift=arguments["lift"])
    changes: dict[int, Changes] = {}
    if not lifted or not _signs_on(pinned.version, now):
        changes = _activation(pinned.key, pinned.version, now=now, at=at, until=until)
    dry_run = arguments["dry_run"]
    edited = change_states(pinned, changes, lifted=lifted, dry_run=dry_run)
    if edited.written:
        keep_key_event(
            scope,
            "activated",
            tenant=pinned.tenant.name,
            key=pinned.key.name,
            version=pinned.version.version,
            public_key=pinned.version.public_key,
            changed=[f"{number}.{name}" for number, change in changes.items() for name in change]
            + ["lifted_orders"] * bool(lifted),
        )
    print_states(output, _lines(pinned, edited, changes, at=at))
    if pinned.key.profile == "code-signing" and not pinned.version.leaves and _had_certificate(pinned.key):
        print_message(f"warning: {pinned.name} has no certificate, and a former version has one")
    return Exit.DONE if dry_run else reload_here(output, pinned, reload_now=not arguments["no_reload"])


def _lines(
    pinned: PinnedVersion,
    edited: EditedTenant,
    changes: dict[int, Changes],
    *,
    at: datetime,
) -> list[StateLine]:
    """The states of the changed versions, the activated one first."""
    lines = [StateLine.of(pinned, edited, pinned.version.version, "active", at)]
    for number, change in changes.items():
        if number == pinned.version.version:
            continue
        until = change.get("verify_only_from")
        state: KeyState = "next" if until is None else "active"
        line = StateLine.of(pinned, edited, number, state, None)
        lines.append(msgspec.structs.replace(line, until=until))
    return lines


def _lifted_orders(pinned: PinnedVersion, *, lift: bool) -> frozenset[bytes]:
    """Ids of the orders that stop this version, which the file is to lift.

    Raises ``KeyDisabled`` where they are not to be lifted: activated, the version would sign nothing. Orders known to
    this host are regarded. One that stops the key or the tenant is a warning: the operator stopped more than this version.
    """
    scope, tenant = pinned.scope, pinned.tenant
    with reading_state(scope.file):
        signed = StopOrderFolder(scope.state_dir).read(scope.audience)
    orders = [
        order
        for order in (read_order(raw, scope.audience) for raw in signed.values())
        if in_force(order, tenant)
    ]
    for order in orders:
        if order.scope == "tenant" or (order.scope == "key" and order.name == pinned.key.name):
            print_message(
                f"warning: an operator's order stops the {order.scope} ({order.hex_id}, {order.reason}): it signs nothing until"
                " the tenant's file has the order in `lifted_orders`"
            )
    mine = [order for order in orders if order.scope == "version" and order.name == pinned.name]
    if not mine:
        return frozenset()
    if not lift:
        raise KeyDisabled(
            f"an operator's order stops {pinned.name} ({mine[0].hex_id}, {mine[0].reason}): activated, it would sign nothing",
            hint="Ask the operator who sent it; --lift activates the version and lifts the order.",
        )
    return frozenset(order.order_id for order in mine)


def _activation(
    key: TenantKey, version: KeyVersion, *, now: datetime, at: datetime, until: datetime
) -> dict[int, Changes]:
    """Changes of the file by version number. Raises ``KeyDisabled`` for a version that has ended, or is active."""
    state = version.state_at(in_unix_ms(now))
    if state in ENDED:
        raise KeyDisabled(
            f"version {version.version} is {state}, which is permanent",
            hint="Make a new version by `sigmill keys rotate`, and activate that.",
        )
    if _signs_on(version, now):
        raise KeyDisabled(f"version {version.version} is active already", hint="Nothing is left to be done.")
    changes: dict[int, Changes] = {}
    if state == "next":
        changes[version.version] = {"state": "next", "active_from": at, "verify_only_from": None}
    else:  # clients believe it already, so that it may sign before a new directory is published
        if at > now + AT_ONCE:
            raise KeyDisabled(
                f"version {version.version} is {state}: it is activated again at once only",
                hint="Leave out --at.",
            )
        changes[version.version] = plain_state("active")
    for other in key.versions:
        if other is not version and (ends := _former(other, now, until)) is not None:
            changes[other.version] = ends
    return changes


def _signs_on(version: KeyVersion, now: datetime) -> bool:
    """Whether the version is active, and no end is set."""
    return version.state_at(in_unix_ms(now)) == "active" and version.verify_only_from_ms is None


def _former(other: KeyVersion, now: datetime, until: datetime) -> Changes | None:
    """Changes of another version: one that is active, or would be before, ends with the overlap."""
    if other.state_at(in_unix_ms(now)) == "active":
        return {"state": "active", "active_from": None, "verify_only_from": until}
    if other.state == "next" and other.active_from_ms is not None:
        return {"active_from": None}  # it was to become active later: this activation is in its place
    return None


def _had_certificate(key: TenantKey) -> bool:
    return any(version.leaves for version in key.versions)


def _moment(text: str | None, now: datetime) -> datetime:
    """The time of ``--at``, in whole seconds as TOML has it; without one, in five seconds."""
    if text is None:
        return (now + AT_ONCE).replace(microsecond=0)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time such as 2026-12-01T06:00:00Z", param_hint="--at"
        ) from None
    if at.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no time zone: append Z for UTC", param_hint="--at")
    if at > now + LATEST:
        raise click.BadParameter(f"{text!r} is more than ten years ahead", param_hint="--at")
    if at <= now:
        raise click.BadParameter(f"{text!r} is over: leave out --at to activate at once", param_hint="--at")
    return at.astimezone(UTC).replace(microsecond=0)
