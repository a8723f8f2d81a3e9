"""``sigmill keys rotate``, ``activate``, ``retire`` and ``revoke``: the states of a key's versions."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click
import msgspec

from queueing.errors import ConfigError, KeyDisabled
from workers.cli.keys.pinned_version import PinnedVersion, find_key, find_version, version_options
from workers.cli.shell.options import Duration, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.cli.tenants.reload import print_reports, reload_workers
from workers.config.loading import load_scope
from workers.config.tenant_edits import Changes, change_versions
from workers.config.tenant_writer import edit_tenant

if TYPE_CHECKING:
    from queueing.protocol.key_directory import KeyState
    from workers.config.loading import ServiceScope
    from workers.config.tenants import KeyVersion, TenantKey

AT_ONCE: Final = timedelta(seconds=5)
"""Time until a version that is activated at once signs: by then the key directory with it is published."""

OVERLAP_S: Final = 600.0
"""Several times the clients' ``directory_refresh_s``: tools that name the version of their directory fail no job."""

_ENDED: Final = ("retired", "revoked")

reload_option = click.option(
    "--no-reload", is_flag=True, help="Only write the file: do not reload this host's workers."
)


class StateLine(msgspec.Struct, frozen=True, kw_only=True):
    """State of a key version from ``since`` on; ``until``: from then on it is verify-only."""

    tenant: str
    key: str
    version: int
    state: str
    since: datetime
    until: datetime | None = None
    written: str


class _StateArguments(TypedDict):
    config: Path
    tenant: str
    key: str
    no_reload: bool


class _ActivateArguments(_StateArguments):
    at: str | None
    overlap: float


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
@reload_option
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
    until = at + timedelta(seconds=arguments["overlap"])
    changes = _activation(pinned.key, pinned.version, now=now, at=at, until=until)
    _edit(pinned, changes)
    if pinned.key.profile == "code-signing" and not pinned.version.leaves and _had_certificate(pinned.key):
        print_message(f"warning: {pinned.name} has no certificate, and a former version has one")
    lines = [_line(pinned, pinned.version.version, "active", at)]
    lines += [
        _line(pinned, number, "active", now, until=until)
        for number in changes
        if number != pinned.version.version
    ]
    return _finish(output, pinned, lines, reload_now=not arguments["no_reload"])


@click.command()
@version_options
@reload_option
@json_option
@click.pass_obj
def retire(output: Output, /, **arguments: Unpack[_StateArguments]) -> Exit:
    """End a key version: it signs nothing from now on. Existing signatures stay good.

    Clients of Sigmill no longer accept results of it. Reloads this host's workers, which stop within a second; the other
    hosts need the file and `sigmill tenants reload`, or a `sigmill stop`, whose command line is printed.
    """
    return _end(output, arguments, "retired")


@click.command()
@version_options
@reload_option
@json_option
@click.pass_obj
def revoke(output: Output, /, **arguments: Unpack[_StateArguments]) -> Exit:
    """Revoke a key version permanently: it signs nothing, and clients no longer believe it.

    Running clients learn it within their `directory_refresh_s` (60 s). For an emergency on many hosts send `sigmill stop`
    first, which acts everywhere within a second; the certificate is revoked by its authority.
    """
    return _end(output, arguments, "revoked")


def _end(output: Output, arguments: _StateArguments, state: KeyState) -> Exit:
    scope = load_scope(arguments["config"])
    pinned = _named_version(scope, arguments["tenant"], arguments["key"])
    if pinned.version.state == "revoked":
        raise KeyDisabled(f"{pinned.name} is revoked, which is permanent", hint="Nothing is left to be done.")
    _edit(pinned, {pinned.version.version: _plain(state)})
    now = datetime.now(UTC)
    others = [v for v in pinned.key.versions if v is not pinned.version and v.state_at(_ms(now)) == "active"]
    if not others:
        print_message(
            f"warning: no version of {pinned.key.name} is active now, so jobs that name no version are refused"
        )
    lines = [_line(pinned, pinned.version.version, state, now)]
    ended = _finish(output, pinned, lines, reload_now=not arguments["no_reload"])
    print_message(
        f"other hosts sign with {pinned.name} until they have the file and reload it; to stop it on all hosts within a second:"
        f" sigmill stop --tenant {pinned.tenant.name} --key {pinned.name} --reason '{state}' --operator NAME --operator-key FILE"
    )
    return ended


def _named_version(scope: ServiceScope, tenant: str, key: str) -> PinnedVersion:
    """The version of ``KEY/VERSION``; what cannot be undone needs the version's number."""
    name, slash, _ = key.partition("/")
    if not slash:
        _, found = find_key(scope, tenant, name)
        has = ", ".join(f"{name}/{v.version} ({v.state_now})" for v in found.versions)
        raise click.UsageError(f"name the version as KEY/VERSION: {has}")
    return find_version(scope, tenant, key, wanted=())


def _activation(
    key: TenantKey, version: KeyVersion, *, now: datetime, at: datetime, until: datetime
) -> dict[int, Changes]:
    """Changes of the file by version number. Raises ``KeyDisabled`` for a version that has ended, or is active."""
    state = version.state_at(_ms(now))
    if state in _ENDED:
        raise KeyDisabled(
            f"version {version.version} is {state}, which is permanent",
            hint="Make a new version by `sigmill keys rotate`, and activate that.",
        )
    if state == "active" and version.verify_only_from_ms is None:
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
        changes[version.version] = _plain("active")
    for other in key.versions:
        if other is not version and (ends := _former(other, now, until)) is not None:
            changes[other.version] = ends
    return changes


def _former(other: KeyVersion, now: datetime, until: datetime) -> Changes | None:
    """Changes of another version: one that is active, or would be before, ends with the overlap."""
    if other.state_at(_ms(now)) == "active":
        return {"state": "active", "active_from": None, "verify_only_from": until}
    if other.state == "next" and other.active_from_ms is not None:
        return {"active_from": None}  # it was to become active later: this activation is in its place
    return None


def _plain(state: KeyState) -> Changes:
    return {"state": state, "active_from": None, "verify_only_from": None}


def _edit(pinned: PinnedVersion, changes: dict[int, Changes]) -> None:
    """Write the changes, if no other operator changed the versions meanwhile."""
    name, before = pinned.key.name, pinned.key.versions

    def change(text: str) -> str:
        _, key = find_key(pinned.scope, pinned.tenant.name, name)
        if [(v.version, v.state, v.active_from_ms) for v in key.versions] != [
            (v.version, v.state, v.active_from_ms) for v in before
        ]:
            raise ConfigError(
                str(pinned.scope.tenant_file(pinned.tenant.name)),
                f"keys.{name}",
                "was changed meanwhile: another operator is at work",
                "Look at `sigmill keys list`, then try again.",
            )
        return change_versions(text, name, changes)

    edit_tenant(pinned.scope, pinned.tenant.name, change)


def _finish(output: Output, pinned: PinnedVersion, lines: list[StateLine], *, reload_now: bool) -> Exit:
    for line in lines:
        if output.as_json:
            emit(line)
        else:
            until = "" if line.until is None else f", verify-only from {line.until:%Y-%m-%dT%H:%M:%SZ}"
            print_message(
                f"{line.key}/{line.version} of {line.tenant}: {line.state} from {line.since:%Y-%m-%dT%H:%M:%SZ}{until}"
            )
    if not reload_now:
        print_message(f"written to {lines[0].written}; run `sigmill tenants reload` on every host")
        return Exit.DONE
    reports = reload_workers(pinned.scope)
    if not reports:
        print_message("no worker runs on this host")
        return Exit.DONE
    return print_reports(dataclasses.replace(output, as_json=False), reports)


def _line(
    pinned: PinnedVersion, version: int, state: KeyState, since: datetime, *, until: datetime | None = None
) -> StateLine:
    return StateLine(
        tenant=pinned.tenant.name,
        key=pinned.key.name,
        version=version,
        state=state,
        since=since,
        until=until,
        written=str(pinned.scope.tenant_file(pinned.tenant.name)),
    )


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
    if at <= now:
        raise click.BadParameter(f"{text!r} is over: leave out --at to activate at once", param_hint="--at")
    return at.astimezone(UTC).replace(microsecond=0)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
