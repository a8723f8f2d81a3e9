"""What producers and Redis need: a client that signs digests, and the queue between it and the workers.

Start with ``SigningClient.from_file("client.toml")``. The map:

===================  =====================================================================================
client               ``SigningClient``; its parts: ``single_calls`` (``sign``, over ``coalescing``),
                     ``many`` (``sign_many``), ``parts`` (``wait``), ``performing`` (one envelope, renewed as
                     needed), ``checking`` (nothing is believed unchecked), ``owned_tasks``
exchange             jobs out, results in: ``sending``, ``replies`` (push), ``lookups`` (the net), ``pending``
drafts, envelope     what is to be signed; the same with dates and the client key's signature
jobs, keyspace       what stands in Redis, and under which keys
submission, claims   the producer's and the worker's calls; ``scripts`` and ``lua/`` run them; ``limits`` go along
round_trip           for what must not be sent again when its answer is lost
directory            the tenant's keys, signed by the service; ``key_directory_cache``, ``epoch_memory``
verification         public keys and what verifies under them; ``algorithms`` says what fits
client_config        ``client.toml``; ``client_key`` the private key, ``request_ids`` what a CI run brings
costs, priorities    what a signature costs of a tenant's rate; which of its jobs come first
accept               when a submit or a commit counts: Redis said OK, or replicas have it too
results, errors      what a caller gets, or catches
===================  =====================================================================================
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
        QueueUnavailable,
        QueueUnconfirmed,
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
    "QueueUnavailable",
    "QueueUnconfirmed",
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
"""Where the names live, apart from the errors. Loaded when asked for: a lane needs no Redis client."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'queueing' has no attribute {name!r}")
    return getattr(import_module(f"queueing.{_HOMES.get(name, 'errors')}"), name)
