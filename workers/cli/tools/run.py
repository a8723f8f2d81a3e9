"""``sigmill run``: runs one command with an agent of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from queueing.agent.agent import running_agent
from queueing.agent.failures import FailureLog
from queueing.aio.runner import run as run_on_loop
from queueing.errors import ConfigError
from workers.cli.shell.interrupts import ends_task, with_clean_up
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Output, print_message
from workers.cli.tools.agent_options import (
    AgentArguments,
    KeyFileOption,
    agent_options,
    client_and_settings,
    pgp_certificates,
)
from workers.cli.tools.child import FORWARDED, run_child
from workers.cli.tools.key_notes import tell_of_keys, tell_of_missing_certificates
from workers.cli.tools.run_folder import run_folder
from workers.cli.tools.told_failures import tell_failures
from workers.cli.tools.tool_environment import INSTALL_HINT, MODULE_VARIABLE, ToolEnvironment, client_module
from workers.cli.tools.waiting import waiting_notes

if TYPE_CHECKING:
    from queueing.agent.agent import AgentSettings
    from queueing.client.signing_client import SigningClient


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@agent_options
@click.option(
    "--pgp",
    "pgp",
    multiple=True,
    type=KeyFileOption(),
    metavar="KEY=FILE",
    help="OpenPGP certificate of a key, as `sigmill pgp certificate` makes it, for sigmill-gpg and git; may be repeated.",
)
@json_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@click.pass_obj
def run(
    output: Output,
    /,
    *,
    command: tuple[str, ...],
    pgp: tuple[tuple[str, Path], ...],
    **arguments: Unpack[AgentArguments],
) -> int:
    """Run COMMAND with the tenant's keys as a PKCS#11 token, so that it signs through Sigmill.

    The token is `pkcs11:token=sigmill`, a key is `object=KEY` with the ID KEY, and no PIN is needed. OpenSSL (engine or
    provider), Java and whatever loads $SIGMILL_PKCS11_MODULE find it by their environment. Waits and retries are made for
    the command. Exit code: the command's; where it failed because a signature was denied, 77; for a temporary reason, 75.
    The reasons are printed on stderr; with --json as JSON lines on stdout, behind the command's own output.
    """
    module = client_module(os.environ)
    if module is None:
        raise ConfigError(
            MODULE_VARIABLE, "", "p11-kit-client.so is not installed on this host", INSTALL_HINT
        )
    with with_clean_up(), _private_folder() as folder:
        client, settings = client_and_settings(arguments, folder / "agent.sock")
        failures = FailureLog()
        tools = ToolEnvironment(folder=folder, module=module, pgp=pgp_certificates(pgp))
        code = run_on_loop(_run(command, client, settings, failures, tools))
    return tell_failures(failures, code, as_json=output.as_json)


async def _run(
    command: tuple[str, ...],
    client: SigningClient,
    settings: AgentSettings,
    failures: FailureLog,
    tools: ToolEnvironment,
) -> int:
    with ends_task(FORWARDED, "The command was not started."):
        async with (
            client,
            running_agent(client, settings, failures) as listening,
            waiting_notes(client, listening.signer),
        ):
            tell_of_keys(listening.keys)
            try:
                made = tools.variables(listening.address, os.environ)
            except OSError as error:
                raise _unusable_folder(error) from None
            for note in tools.notes(os.environ, command):
                print_message(f"note: {note}")
            code = await run_child(command, {**os.environ, **made})
            if code and not failures.counted():
                tell_of_missing_certificates(listening.keys)
            return code


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder of mode 0700 for the socket and the files of tools, within the block; raises ``ConfigError``."""
    with contextlib.ExitStack() as held:
        try:
            folder = held.enter_context(run_folder())
        except OSError as error:
            raise _unusable_folder(error) from None
        yield folder


def _unusable_folder(error: OSError) -> ConfigError:
    return ConfigError(
        "TMPDIR",
        "",
        f"no files can be made there: {error.strerror}",
        "Make room there, or set TMPDIR to a folder of your own with a short path.",
    )
