"""``sigmill dev``: runs a private stack with throwaway keys in the foreground."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import shutil
import signal
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click
import msgspec

from workers.cli.shell.options import json_option
from workers.cli.shell.output import (
    ErrorObject,
    Exit,
    Output,
    emit,
    print_block,
    print_error,
    print_line,
    print_message,
)
from workers.dev.issuer_process import IssuerFailed
from workers.dev.redis_server import RedisDidNotStart, RedisEnded
from workers.dev.relay_process import RelayFailed
from workers.dev.softhsm import SoftHsmFailed
from workers.dev.stack import Stack
from workers.dev.tenants import KEY, TENANTS
from workers.dev.worker_process import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECK_S: Final = 0.5
_EDGE_PACKAGES: Final = ("aiohttp", "jwt")


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the running stack in JSON; ``clients``: client.toml by tenant; ``other_configs``: of the second worker and so on.

    ``relay_clients``: with the relay instead of Redis; ``token_clients``: with the relay, and a token instead of a client key.
    ``service_keys``: with a record, file of the service's public key, with which its exports are verified.
    """

    directory: str
    logs: str
    config: str
    other_configs: list[str]
    clients: dict[str, str]
    key: str
    relay_clients: dict[str, str] = {}
    token_clients: dict[str, str] = {}
    service_keys: str = ""


@click.command()
@click.option(
    "--workers", type=click.IntRange(1, 16), default=1, show_default=True, help="Number of workers."
)
@click.option(
    "--edge/--no-edge",
    default=None,
    help="Also run a relay and an issuer of grants: builds sign over HTTPS, with a token alone. Default: where they are installed.",
)
@click.option("--record", is_flag=True, help="Also keep the record, a tamper-evident log for each tenant.")
@click.option("--keep", is_flag=True, help="Keep the directory at the end.")
@json_option
@click.pass_obj
def dev(output: Output, /, *, workers: int, edge: bool | None, record: bool, keep: bool) -> Exit:
    """Run a private Redis, software tokens and workers until Ctrl-C, with throwaway keys.

    Not for production: the keys are files on this disk. Prints lines to paste into another shell.
    """
    print_message("warning: NOT FOR PRODUCTION. The keys are created in software and deleted at the end.")
    signal.signal(signal.SIGTERM, _interrupt)
    if edge is None:
        edge = _edge_is_installed()
    try:
        with (
            _directory(keep=keep) as directory,
            Stack(directory, workers=workers, edge=edge, record=record) as stack,
        ):
            _print_running(stack) if output.as_json else _print_lines(stack)
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    stack.check()
                    stack.refresh()
                    time.sleep(_CHECK_S)
            print_message("stopping")
    except (RedisEnded, WorkerFailed, RelayFailed, IssuerFailed, RedisDidNotStart, SoftHsmFailed) as error:
        print_error(
            ErrorObject.final("dev.failed", str(error), "Run ops/bootstrap if a program is missing."),
            as_json=output.as_json,
        )
        return Exit.FAILED
    return Exit.DONE


def _edge_is_installed() -> bool:
    """Whether the extras are there; a message says which are not."""
    if all(importlib.util.find_spec(package) is not None for package in _EDGE_PACKAGES):
        return True
    print_message("no relay and no issuer: they need `pip install 'sigmill[edge,issuer]'`")
    return False


def _print_running(stack: Stack) -> None:
    emit(
        Running(
            directory=str(stack.directory),
            logs=str(stack.logs),
            config=str(stack.config),
            other_configs=[str(file) for file in stack.other_configs],
            clients={tenant.name: str(stack.clients[tenant.name]) for tenant in TENANTS},
            key=KEY,
            relay_clients={name: str(file) for name, file in stack.relay_clients.items()},
            token_clients={name: str(file) for name, file in stack.token_clients.items()},
            service_keys=str(stack.service_keys) if stack.with_record else "",
        )
    )


def _print_lines(stack: Stack) -> None:
    print_message(f"the stack is in {stack.directory}, its logs in {stack.logs}; Ctrl-C stops it")
    print_message("")
    print_message("Paste into another shell:")
    print_message("")
    print_line(f'export PATH={shlex.quote(sysconfig.get_path("scripts"))}:"$PATH"')
    print_line(f"export SIGMILL_CONFIG={shlex.quote(str(stack.config))}")
    for tenant in TENANTS:
        print_line()
        print_line(f"# {tenant.name}: {tenant.kind}")
        print_line(f"export SIGMILL_CLIENT_CONFIG={shlex.quote(str(stack.clients[tenant.name]))}")
        print_line(f"sigmill sign --key {KEY} /usr/bin/env")
        if tenant.name in stack.relay_clients:
            by_relay = shlex.quote(str(stack.relay_clients[tenant.name]))
            print_line(f"sigmill sign --config {by_relay} --key {KEY} /usr/bin/env   # over HTTPS")
        if tenant.name in stack.token_clients:
            by_token = shlex.quote(str(stack.token_clients[tenant.name]))
            print_line(f"sigmill sign --config {by_token} --key {KEY} /usr/bin/env   # with a token alone")
    if stack.with_record:
        _print_record(stack)
    for file in stack.other_configs:
        print_line()
        print_line(
            f"sigmill tenants reload --config {shlex.quote(str(file))}   # a worker of its own: after each change, too"
        )
    print_block("\nsigmill keys list\nsigmill tokens list")


def _print_record(stack: Stack) -> None:
    """Lines that export and verify the record of the first tenant; a checkpoint follows a signature within a second or two."""
    tenant = TENANTS[0].name
    bundle = shlex.quote(str(stack.directory / f"record-{tenant}"))
    keys = shlex.quote(str(stack.service_keys))
    print_line()
    print_line(f"# the record of {tenant}: after a signature, as its auditor gets it")
    for config in (stack.config, *stack.other_configs):
        print_line(
            f"sigmill audit export --config {shlex.quote(str(config))} --tenant {tenant} --out {bundle}"
        )
    print_line(f"sigmill audit verify {bundle} --tenant {tenant} --service-key {keys}")
    print_line(f"sigmill audit find {bundle} --key {KEY}")


@contextlib.contextmanager
def _directory(*, keep: bool) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="sigmill-"))
    try:
        yield directory
    finally:
        if keep:
            print_message(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
