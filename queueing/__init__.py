"""The queue and its client: what producers and workers share.

Start with ``SigningClient.from_file("client.toml")``.

agent               PKCS#11 token on a unix socket, for tools of a build host
artifacts           files signed natively: Authenticode, CMS
aio                 asyncio building blocks
broker              the queue: submit, claim, extend, commit, nack, dead letters
child_group         child processes in a group of their own: their output within bounds, and their end
client              ``SigningClient`` and its parts
config              reading of configuration
coordination        registry, feeds and counters that workers share in Redis
ed25519             verification of Ed25519, with libsodium where PyNaCl is installed
errors              every error that a caller can get
files               durable replacement of files
garbage_collection  garbage collection of our own processes
protocol            wire forms and the values in them
redis               access to Redis, and the Lua scripts
transparency        formats of a tamper-evident log
unix_time           clocks of this host, and Unix time in milliseconds

Must never import ``workers``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from queueing.client.config import ClientConfig
    from queueing.client.signatures import Signature
    from queueing.client.signing_client import SigningClient
    from queueing.client.submitted_job import Job
    from queueing.config.accept_level import AcceptLevel
    from queueing.errors import (
        ConfigError,
        Denied,
        Invalid,
        JobConflict,
        JobUnknown,
        LimitBacklog,
        LimitBudget,
        ProofInvalid,
        QueueUnavailable,
        QueueUnconfirmed,
        ReceiptMissing,
        ResultInvalid,
        SigningError,
        Unavailable,
        WaitTimeout,
    )
    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.client_keys import ClientKey
    from queueing.protocol.priorities import Priority

__all__ = [
    "AcceptLevel",
    "Algorithm",
    "ClientConfig",
    "ClientKey",
    "ConfigError",
    "Denied",
    "Invalid",
    "Job",
    "JobConflict",
    "JobUnknown",
    "LimitBacklog",
    "LimitBudget",
    "Priority",
    "ProofInvalid",
    "QueueUnavailable",
    "QueueUnconfirmed",
    "ReceiptMissing",
    "ResultInvalid",
    "Signature",
    "SigningClient",
    "SigningError",
    "Unavailable",
    "WaitTimeout",
]

_HOMES: Final = {
    "AcceptLevel": "config.accept_level",
    "Algorithm": "protocol.algorithms",
    "ClientConfig": "client.config",
    "ClientKey": "protocol.client_keys",
    "Job": "client.submitted_job",
    "Priority": "protocol.priorities",
    "Signature": "client.signatures",
    "SigningClient": "client.signing_client",
}
"""Modules of the public names, apart from the errors. Loaded when asked for: a lane needs no Redis client."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'queueing' has no attribute {name!r}")
    return getattr(import_module(f"queueing.{_HOMES.get(name, 'errors')}"), name)
