"""``sigmill keys retire`` and ``revoke``: the end of a key version, by the file on this host, by a stop order on all."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, Unpack

import click
import msgspec

from queueing.aio.runner import run
from queueing.coordination.worker_registry import registered_workers
from queueing.errors import ConfigError, KeyDisabled, QueueUnavailable, SigningError
from queueing.errors.counts import counted
from queueing.redis.connection import with_connection
from queueing.unix_time import in_unix_ms
from workers.cli.keys.pinned_version import PinnedVersion, find_key, find_version, version_options
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
from workers.cli.operate.order_sender import OrderSender
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import combined, dry_run_option, json_option
from workers.cli.shell.output import ErrorObject, Exit, Output, print_message
from workers.config.loading import load_scope
from workers.config.service_file import load_service
from workers.state.directory import reading_state
from workers.state.running_workers import running_workers

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope
    from workers.config.tenant_writer import EditedTenant

_EndState: TypeAlias = Literal["retired", "revoked"]

_MOST_SHOWN: Final = 5

end_options = combined(
    version_options,
    click.option(
        "--operator",
        metavar="NAME",
        envvar="SIGMILL_OPERATOR",
        show_envvar=True,
        help="The [operators.NAME] that signs the stop order for all hosts.",
    ),
    click.option(
        "--operator-key",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar="SIGMILL_OPERATOR_KEY",
        show_envvar=True,
        help="The operator's private key (PEM, mode 0600).",
    ),
    click.option(
        "--reason", metavar="TEXT", help="Reason, kept with the order. Default: retired, or revoked."
    ),
    click.option(
        "--this-host", is_flag=True, help="Send no stop order: the other hosts stop when they have the file."
    ),
    reload_option,
    dry_run_option,
    json_option,
)


class _EndArguments(StateArguments):
    operator: str | None
    operator_key: Path | None
    reason: str | None
    this_host: bool


@click.command()
@end_options
@click.pass_obj
def retire(output: Output, /, **arguments: Unpack[_EndArguments]) -> Exit:
    """End a key version: it signs nothing from now on. Existing signatures stay good.

    Writes the file, sends a stop order of this version that the operator signs (--operator, --operator-key), which every
    worker applies within a second, and reloads this host's workers. Exit code 75 if another host may sign with it still:
    the order was not sent, or not confirmed; the message says what to do. Clients of Sigmill no longer accept results
    of the version.
    """
    return _end(output, arguments, "retired")


@click.command()
@end_options
@click.pass_obj
def revoke(output: Output, /, **arguments: Unpack[_EndArguments]) -> Exit:
    """Revoke a key version permanently: it signs nothing, and clients no longer believe it.

    Stops it on every host as `sigmill keys retire` does, with the same exit codes. Running clients learn it within their
    `directory_refresh_s` (60 s), unless Redis withholds the new key directory: then the old one is believed until it
    expires (`directory_ttl_s`). The certificate is revoked by its authority.
    """
    return _end(output, arguments, "revoked")


def _end(output: Output, arguments: _EndArguments, state: _EndState) -> Exit:
    sender, now = _sender(arguments), datetime.now(UTC)
    pinned, edited = _written(arguments, state, again=sender is not None)
    if edited is None:
        print_message(f"{pinned.name} is {state} already: the file stays as it is")
    line = StateLine.of(pinned, edited, pinned.version.version, state, None if edited is None else now)
    if arguments["dry_run"]:
        print_states(output, [line])
        if sender is not None:
            print_message(f"{sender.operator} would send a stop order of {pinned.name} to every worker")
        return Exit.DONE
    if edited is not None:
        keep_key_event(
            pinned.scope,
            state,
            tenant=pinned.tenant.name,
            key=pinned.key.name,
            version=pinned.version.version,
            public_key=pinned.version.public_key,
        )
    if sender is not None:
        line = _stopped(line, sender, pinned, arguments["reason"] or state)
    print_states(output, [line])
    _warn(pinned, now)
    reloaded = reload_here(output, pinned, reload_now=not arguments["no_reload"])
    if arguments["this_host"]:
        print_message(f"other hosts sign with {pinned.name} until they have the file and reload it")
        return reloaded
    if sender is not None:
        stopped = _told_order(line, pinned)
    else:
        unchanged_here = arguments["no_reload"] or reloaded is not Exit.DONE
        stopped = _told_no_order(arguments, pinned, now, unchanged_here=unchanged_here)
    return reloaded or stopped


def _written(
    arguments: _EndArguments, state: _EndState, *, again: bool
) -> tuple[PinnedVersion, EditedTenant | None]:
    """The version, and its edit; None where the file has the state already, and an order is to be sent ``again``.

    Raises ``ConfigError``, which names the order that needs no file: a file with a mistake holds up no stop.
    """
    try:
        scope = load_scope(arguments["config"])
        pinned = named_version(scope, arguments["tenant"], arguments["key"])
        before, number = pinned.version.state, pinned.version.version
        if before == state and again:
            return pinned, None
        if before in {state, "revoked"}:
            raise KeyDisabled(
                f"{pinned.name} is {before} already"
                + (", which is permanent" if before == "revoked" else ""),
                hint="Nothing is left to be done in the file; with --operator the command stops it on other hosts.",
            )
        return pinned, change_states(pinned, {number: plain_state(state)}, dry_run=arguments["dry_run"])
    except ConfigError as error:
        command = stop_command(arguments["tenant"], arguments["key"], arguments["reason"])
        remedy = f"{error.remedy} In an emergency `{command}` stops it on all hosts without the file."
        raise ConfigError(error.file, error.key, error.problem, remedy) from error


def named_version(scope: ServiceScope, tenant: str, key: str) -> PinnedVersion:
    """The version of ``KEY/VERSION``; what cannot be undone needs the version's number."""
    name, slash, _ = key.partition("/")
    if not slash:
        _, found = find_key(scope, tenant, name)
        has = ", ".join(f"{name}/{v.version} ({v.state_now})" for v in found.versions)
        raise click.UsageError(f"name the version as KEY/VERSION: {has}")
    return find_version(scope, tenant, key, wanted=())


def _sender(arguments: _EndArguments) -> OrderSender | None:
    """The sender of the stop order, checked before anything is written; None where no operator was named."""
    operator, key = arguments["operator"], arguments["operator_key"]
    if arguments["this_host"] or (operator is None and key is None):
        return None
    if operator is None or key is None:
        raise click.UsageError(
            "a stop order needs --operator NAME and --operator-key FILE; --this-host sends none"
        )
    return OrderSender.of(load_service(arguments["config"]), operator, key)


def _stopped(line: StateLine, sender: OrderSender, pinned: PinnedVersion, reason: str) -> StateLine:
    """The line with the order, or with the reason why it was not sent: the file has the new state either way."""
    try:
        stop = sender.send(scope="version", tenant=pinned.tenant.name, name=pinned.name, reason=reason)
    except SigningError as error:
        return msgspec.structs.replace(line, stop_error=ErrorObject.of(error))
    return msgspec.structs.replace(line, stop=stop)


def _told_order(line: StateLine, pinned: PinnedVersion) -> Exit:
    """Say what became of the order; the exit code that follows from it."""
    if line.stop is None:
        why = "" if line.stop_error is None else f" ({line.stop_error.message})"
        print_message(
            f"the stop order was not sent{why}: the file of this host has the new state, but other hosts sign with"
            f" {pinned.name} until they have the file and reload it. Run this command again when Redis answers"
        )
        return Exit.RETRY
    stop = line.stop
    if not stop.everywhere:
        print_message(
            f"order {stop.order} was sent, and {len(stop.adopted_by)} of {counted(stop.workers, 'worker')} confirmed it within"
            f" {stop.within_s:.2f} s:"
            f" {', '.join(stop.adopted_by) or 'none'}. `sigmill workers list` shows the others; workers that start later apply it, too"
        )
        return Exit.RETRY
    print_message(
        f"order {stop.order} stops {pinned.name} on every host: {counted(len(stop.adopted_by), 'worker')} confirmed it within"
        f" {stop.within_s:.2f} s"
    )
    return Exit.DONE


def _told_no_order(
    arguments: _EndArguments, pinned: PinnedVersion, now: datetime, *, unchanged_here: bool
) -> Exit:
    """Say how the version is stopped where it may still sign, if anywhere; the exit code that follows from it.

    ``unchanged_here``: the workers of this host have not adopted the file.
    """
    if not may_sign(pinned, now):
        return Exit.DONE
    here = _workers_here(pinned.scope) if unchanged_here else set()
    try:
        others = _other_workers(arguments["config"], pinned.scope)
    except QueueUnavailable:
        others = ["other hosts (Redis does not answer, so they are unknown)"]
    signing = [f"worker {pid} of this host" for pid in sorted(here)] + others
    if not signing:
        print_message(
            f"no other worker is registered: {pinned.name} is stopped everywhere. A host that starts later with an older"
            " file would sign with it: distribute the file"
        )
        return Exit.DONE
    more = f" and {counted(len(signing) - _MOST_SHOWN, 'other')}" if len(signing) > _MOST_SHOWN else ""
    print_message(
        f"{', '.join(signing[:_MOST_SHOWN])}{more}: may sign with {pinned.name} until they have the file and reload it. To"
        f" stop it on all hosts within a second: {stop_command(pinned.tenant.name, pinned.name, arguments['reason'])}"
    )
    return Exit.RETRY


def stop_command(tenant: str, key: str, reason: str | None) -> str:
    """The command line of the order that stops KEY/VERSION."""
    words = ["--tenant", tenant, "--key", key, "--reason", reason or "ended"]
    return f"sigmill stop {shlex.join(words)} --operator NAME --operator-key FILE"


def may_sign(pinned: PinnedVersion, now: datetime) -> bool:
    """Whether a host with the file as it was may sign with the version: it is active, or becomes so at a time."""
    version = pinned.version
    if version.state in ENDED:
        return False
    return version.state_at(in_unix_ms(now)) == "active" or (
        version.state == "next" and version.active_from_ms is not None
    )


def _workers_here(scope: ServiceScope) -> set[int]:
    """Process ids of this host's workers."""
    with reading_state(scope.file):
        return set(running_workers(scope.state_dir))


def _other_workers(config: Path, scope: ServiceScope) -> list[str]:
    """Workers that reported lately, and are none of this host's, as HOST (PID). Raises ``QueueUnavailable``."""
    service, here = load_service(config), _workers_here(scope)
    seen = run(with_connection(service.redis, registered_workers))
    others = [
        f"{worker.info.host} ({worker.info.pid})"
        for worker in seen
        if worker.alive and not (worker.info.host == os.uname().nodename and worker.info.pid in here)
    ]
    return (
        [*others, f"{counted(seen.damaged, 'worker')} whose entries cannot be read"]
        if seen.damaged
        else others
    )


def _warn(pinned: PinnedVersion, now: datetime) -> None:
    others = [v for v in pinned.key.versions if v is not pinned.version]
    if not any(v.state_at(in_unix_ms(now)) == "active" for v in others):
        print_message(
            f"warning: no version of {pinned.key.name} is active now, so jobs that name no version are refused"
        )
