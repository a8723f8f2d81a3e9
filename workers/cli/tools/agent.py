"""``sigmill agent``: shows the keys as a PKCS#11 token on a unix socket, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import click
import msgspec

from queueing.agent.agent import running_agent
from queueing.aio.runner import run
from workers.cli.shell.interrupts import ends_task
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.cli.tools.agent_options import AgentArguments, agent_options, client_and_settings
from workers.cli.tools.key_notes import tell_of_keys
from workers.cli.tools.told_failures import PrintedFailures
from workers.cli.tools.tool_environment import INSTALL_HINT, MODULE_VARIABLE, client_module
from workers.cli.tools.waiting import waiting_notes

if TYPE_CHECKING:
    from queueing.agent.agent import AgentSettings
    from queueing.client.signing_client import SigningClient


_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """The line that ``--json`` prints when tools may connect: variables of the tools' environment."""

    environment: dict[str, str]


@click.command("agent")
@agent_options
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="Socket to listen on; only this user may connect.",
)
@json_option
@click.pass_obj
def agent(output: Output, /, *, socket: Path, **arguments: Unpack[AgentArguments]) -> Exit:
    """Show the tenant's keys as a PKCS#11 token, so that other programs sign through Sigmill, until SIGTERM.

    Programs load p11-kit-client.so; the lines that are printed tell it the socket. They hash locally: only digests
    leave this host. Reasons of failed signatures are printed on stderr. For one command use `sigmill run`.
    """
    client, settings = client_and_settings(arguments, socket)
    return run(_serve(client, settings, as_json=output.as_json))


async def _serve(client: SigningClient, settings: AgentSettings, *, as_json: bool) -> Exit:
    ended = asyncio.Event()
    with ends_task(_ENDING, "The agent was stopped before it listened."):
        async with (
            client,
            running_agent(client, settings, PrintedFailures()) as listening,
            waiting_notes(client, listening.signer),
        ):
            for number in _ENDING:
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
            tell_of_keys(listening.keys)
            _tell(listening.address, as_json=as_json)
            await ended.wait()
    return Exit.DONE


def _tell(address: str, *, as_json: bool) -> None:
    module = client_module(os.environ)
    variables = {"P11_KIT_SERVER_ADDRESS": address}
    if module is None:
        print_message(f"note: p11-kit-client.so is not installed here. {INSTALL_HINT}")
    else:
        variables |= {MODULE_VARIABLE: module, "PKCS11_MODULE_PATH": module, "PKCS11_PROVIDER_MODULE": module}
    if as_json:
        emit(Listening(environment=variables))
        return
    for name, value in variables.items():
        print_line(f"export {name}={shlex.quote(value)}")
