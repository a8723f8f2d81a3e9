"""Changes of the states of a key's versions in the tenant's file, previewed or written, and the reload of this host."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import click
import msgspec

from queueing.errors import ConfigError
from workers.cli.keys.pinned_version import PinnedVersion, find_key
from workers.cli.operate.order_sender import StopLine
from workers.cli.shell.output import ErrorObject, Exit, Output, emit, print_difference, print_message
from workers.cli.tenants.reload import print_reports, reload_workers
from workers.config.tenant_edits import Changes, change_versions
from workers.config.tenant_writer import EditedTenant, edit_tenant, preview_tenant

if TYPE_CHECKING:
    from queueing.protocol.key_directory import KeyState

ENDED: Final = ("retired", "revoked")

reload_option = click.option(
    "--no-reload", is_flag=True, help="Only write the file: do not reload this host's workers."
)


class StateLine(msgspec.Struct, frozen=True, kw_only=True):
    """State of a key version from ``since`` on, None where it had the state before; ``until``: from then on it is verify-only.

    ``written`` is None where nothing was: in a dry run, or because the file said so before. ``stop``: the order that stops an ended version on all hosts, if one was sent;
    ``stop_error``: the reason why none was, though one was asked for.
    """

    tenant: str
    key: str
    version: int
    state: str
    since: datetime | None
    until: datetime | None = None
    difference: str
    written: str | None
    stop: StopLine | None = None
    stop_error: ErrorObject | None = None

    @classmethod
    def of(
        cls,
        pinned: PinnedVersion,
        edited: EditedTenant | None,
        version: int,
        state: KeyState,
        since: datetime | None,
    ) -> StateLine:
        """The line of a version after the edit; None where the file said so before."""
        return cls(
            tenant=pinned.tenant.name,
            key=pinned.key.name,
            version=version,
            state=state,
            since=since,
            difference="" if edited is None else edited.difference(),
            written=str(edited.file) if edited is not None and edited.written else None,
        )


class StateArguments(TypedDict):
    """Options of the commands that change states."""

    config: Path
    tenant: str
    key: str
    no_reload: bool
    dry_run: bool


def plain_state(state: KeyState) -> Changes:
    """Changes of a version that is in this state from now on, without an end."""
    return {"state": state, "active_from": None, "verify_only_from": None}


def change_states(
    pinned: PinnedVersion,
    changes: dict[int, Changes],
    *,
    lifted: frozenset[bytes] = frozenset(),
    dry_run: bool,
) -> EditedTenant:
    """Write the changes by version number, if no other operator changed the versions meanwhile; a dry run writes nothing.

    ``lifted``: ids of stop orders to be lifted, in addition to those that the file lifts when it is written. Raises ``ConfigError``.
    """
    name, before = pinned.key.name, pinned.key.versions

    def change(text: str) -> str:
        tenant, key = find_key(pinned.scope, pinned.tenant.name, name)
        if [(v.version, v.state, v.active_from_ms) for v in key.versions] != [
            (v.version, v.state, v.active_from_ms) for v in before
        ]:
            raise ConfigError(
                str(pinned.scope.tenant_file(pinned.tenant.name)),
                f"keys.{name}",
                "was changed meanwhile: another operator is at work",
                "Look at `sigmill keys list`, then try again.",
            )
        head: Changes = {}
        if lifted:
            head = {"lifted_orders": sorted(each.hex() for each in tenant.lifted_orders | lifted)}
        return change_versions(text, name, changes, head=head)

    write = preview_tenant if dry_run else edit_tenant
    return write(pinned.scope, pinned.tenant.name, change)


def print_states(output: Output, lines: list[StateLine]) -> None:
    """Print the new states; of a dry run the difference, too."""
    if output.as_json:
        for line in lines:
            emit(line)
        return
    preview = bool(lines[0].difference) and lines[0].written is None
    if preview:
        print_difference(lines[0].difference, written=None)
    would = "would be " if preview else ""
    for line in lines:
        since = "" if line.since is None else f" from {line.since:%Y-%m-%dT%H:%M:%SZ}"
        until = "" if line.until is None else f", verify-only from {line.until:%Y-%m-%dT%H:%M:%SZ}"
        print_message(f"{line.key}/{line.version} of {line.tenant}: {would}{line.state}{since}{until}")


def reload_here(output: Output, pinned: PinnedVersion, *, reload_now: bool) -> Exit:
    """Reload this host's workers with the written file, and say what is left to be done."""
    if not reload_now:
        file = pinned.scope.tenant_file(pinned.tenant.name)
        print_message(f"written to {file}; run `sigmill tenants reload` on every host")
        return Exit.DONE
    reports = reload_workers(pinned.scope)
    if not reports:
        print_message("no worker runs on this host")
        return Exit.DONE
    return print_reports(dataclasses.replace(output, as_json=False), reports)
