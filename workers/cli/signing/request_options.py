"""What ``sign`` and ``submit`` are asked: the options that they share, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from queueing.client.config import ClientConfig
from queueing.client.signing_client import SigningClient
from queueing.protocol.algorithms import Algorithm, algorithm_named
from queueing.protocol.client_keys import ClientKey
from workers.cli.shell.options import (
    DEFAULT_DEADLINE_S,
    accept_option,
    algorithm_option,
    chosen_request_id,
    client_config_option,
    deadline_option,
    input_options,
    json_option,
    key_option,
    priority_option,
    request_id_option,
)
from workers.cli.signing.inputs import Inputs

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningOptions:
    """Inputs to be signed by a key, through a client that is not open yet. ``algorithm`` None: the key's own."""

    client: SigningClient
    inputs: Inputs
    key: str
    algorithm: Algorithm | None
    request_id: str | None
    priority: str
    deadline_s: float

    @classmethod
    def of(
        cls,
        *,
        config: Path,
        files: tuple[Path, ...],
        digests: tuple[str, ...],
        manifest: Path | None,
        algorithm: str | None,
        request_id: str | None,
        accept: str | None,
        deadline_s: float | None,
        **named: Any,
    ) -> Self:
        """From the values of ``ask_options``; says the request id. Raises usage errors, then ``ConfigError``."""
        inputs = Inputs(files, digests, manifest)
        inputs.check()
        client, deadline_s = client_of(config, deadline_s, accept=accept)
        return cls(
            client=client,
            inputs=inputs,
            algorithm=None if algorithm is None else algorithm_named(algorithm),
            request_id=chosen_request_id(request_id),
            deadline_s=deadline_s,
            **named,
        )

    async def resolved_algorithm(self) -> Algorithm:
        """The one that was named, else the key's own, for which the client must be open."""
        return self.algorithm or await self.client.default_algorithm(self.key, timeout_s=self.deadline_s)


def client_of(
    config: Path, deadline_s: float | None, *, accept: str | None = None
) -> tuple[SigningClient, float]:
    """The client of a client.toml, and how long to wait: as asked, else as the file says, else an hour."""
    settings = ClientConfig.from_file(config)
    client = SigningClient(settings, ClientKey.from_file(Path(settings.private_key_file)), accept=accept)
    return client, settings.deadline_s or DEFAULT_DEADLINE_S if deadline_s is None else deadline_s


def ask_options(command: F) -> F:
    """The options and arguments that make an ``SigningOptions``."""
    for decorate in (
        input_options,
        json_option,
        deadline_option,
        accept_option,
        priority_option,
        request_id_option,
        algorithm_option,
        key_option,
        client_config_option,
    ):
        command = decorate(command)
    return command
