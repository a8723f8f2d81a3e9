"""The agent of a build host: a PKCS#11 token on a unix socket, whose keys sign through ``SigningClient``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from queueing.agent.certificates import Chains
from queueing.agent.failures import FailureSink
from queueing.agent.server import AgentServer
from queueing.agent.signer import PatientSigner
from queueing.agent.token import TokenSource
from queueing.agent.token_objects import TokenKey
from queueing.client.signing_client import SigningClient

DEFAULT_DEADLINE_S: Final = 600.0
"""Time that a tool waits for a signature where ``client.toml`` has no ``deadline_s``: tools themselves wait for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """``keys``: names of the keys to show, None for all of the tenant. ``deadline_s``: for each signature."""

    socket: Path
    keys: Collection[str] | None
    chains: Chains
    deadline_s: float


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that listens. ``address``: value of P11_KIT_SERVER_ADDRESS. ``keys``: those that it shows at its start."""

    address: str
    signer: PatientSigner
    keys: Sequence[TokenKey]


@contextlib.asynccontextmanager
async def running_agent(
    client: SigningClient, settings: AgentSettings, failures: FailureSink
) -> AsyncIterator[RunningAgent]:
    """Listen within the block. ``client`` must be open.

    Raises ``KeyUnknown`` or ``ConfigError`` for keys and certificates that do not exist, before it listens, and as the key
    directory fails.
    """
    signer = PatientSigner(client, failures, deadline_s=settings.deadline_s)
    tokens = TokenSource(client, settings.keys, settings.chains)
    await tokens.check()
    async with AgentServer(settings.socket, tokens, signer, client.config.tenant) as server:
        yield RunningAgent(server.address, signer, (await tokens.current()).keys)
