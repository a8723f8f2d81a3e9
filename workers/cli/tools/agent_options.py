"""Options of ``sigmill agent`` and ``sigmill run``, and the settings that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypedDict

import click

from queueing.agent.agent import DEFAULT_DEADLINE_S, AgentSettings
from queueing.agent.certificates import CertificateChain
from queueing.agent.openpgp.armor import unarmored
from queueing.agent.openpgp.packets import NotOpenPgp, read_certificate
from queueing.client.config import ClientConfig
from queueing.client.signing_client import SigningClient
from queueing.errors import ConfigError
from queueing.protocol.names import NAME_PATTERN
from workers.cli.shell.options import Duration, client_config_option, combined

_NAME: Final = re.compile(NAME_PATTERN)


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
        if not equals or not file:
            self.fail(f"{value!r} is not KEY=FILE", param, ctx)
        if not _NAME.match(key):
            self.fail(f"{key!r} is no name of a key", param, ctx)
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
    client = SigningClient(config, config.client_key())
    deadline_s = arguments["deadline_s"]
    if deadline_s is None:
        deadline_s = config.deadline_s or DEFAULT_DEADLINE_S
    return client, AgentSettings(
        socket=socket,
        keys=arguments["keys"] or None,
        chains={key: CertificateChain.from_file(file) for key, file in arguments["certificates"]},
        deadline_s=deadline_s,
    )


def pgp_certificates(files: Iterable[tuple[str, Path]]) -> dict[str, bytes]:
    """Content of the certificates of ``--pgp`` by key; raises ``ConfigError`` for one that cannot be read."""
    remedy = "Make it with `sigmill pgp certificate`."
    found = {}
    for key, file in files:
        try:
            found[key] = file.read_bytes()
            read_certificate(unarmored(found[key]))
        except OSError as error:
            raise ConfigError(str(file), "", f"cannot be read: {error.strerror}", remedy) from None
        except NotOpenPgp as error:
            raise ConfigError(str(file), "", f"is no OpenPGP certificate: {error}", remedy) from None
    return found
