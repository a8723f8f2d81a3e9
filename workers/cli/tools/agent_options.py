"""Options of ``sigmill agent`` and ``sigmill run``, and the settings that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import click

from queueing.agent.agent import DEFAULT_DEADLINE_S, AgentSettings
from queueing.agent.certificates import CertificateChain
from queueing.client.config import ClientConfig
from queueing.client.signing_client import SigningClient
from queueing.protocol.client_keys import ClientKey
from workers.cli.shell.options import Duration, client_config_option, combined


class KeyFileOption(click.ParamType[tuple[str, Path]]):
    """A file for a key: ``KEY=FILE``."""

    name = "key file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Split the text at the first ``=``; fails as a usage error."""
        if isinstance(value, tuple):
            return value
        key, equals, file = str(value).partition("=")
        if not key or not equals or not file:
            self.fail(f"{value!r} is not KEY=FILE", param, ctx)
        return key, Path(file)


agent_options = combined(
    client_config_option,
    click.option(
        "--key",
        "keys",
        multiple=True,
        metavar="KEY",
        help="A key to show; may be repeated. Default: all keys of the tenant.",
    ),
    click.option(
        "--certificate",
        "certificates",
        multiple=True,
        type=KeyFileOption(),
        metavar="KEY=FILE",
        help="PEM file with the key's certificate and its issuers, instead of those of the key directory; may be repeated.",
    ),
    click.option(
        "--deadline",
        "deadline_s",
        type=Duration(),
        metavar="DURATION",
        help="Maximum time that a tool waits for a signature. Default: `deadline_s` in client.toml, else 10m.",
    ),
)


class AgentArguments(TypedDict):
    """Values of ``agent_options``, as click passes them to a command."""

    config: Path
    keys: tuple[str, ...]
    certificates: tuple[tuple[str, Path], ...]
    deadline_s: float | None


def client_and_settings(arguments: AgentArguments, socket: Path) -> tuple[SigningClient, AgentSettings]:
    """The client, which is not open yet, and the agent's settings; raises ``ConfigError``."""
    config = ClientConfig.from_file(arguments["config"])
    client = SigningClient(config, ClientKey.from_file(Path(config.private_key_file)))
    deadline_s = arguments["deadline_s"]
    if deadline_s is None:
        deadline_s = config.deadline_s or DEFAULT_DEADLINE_S
    return client, AgentSettings(
        socket=socket,
        keys=arguments["keys"] or None,
        chains={key: CertificateChain.from_file(file) for key, file in arguments["certificates"]},
        deadline_s=deadline_s,
    )
