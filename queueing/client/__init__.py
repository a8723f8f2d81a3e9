"""The client that producers use. ``SigningClient`` is loaded when asked for.

config               ``client.toml``
delivery             jobs out, results in
identity             the client's own key, or grants that an issuer gives for a token
epoch_store          newest key directory epoch seen (rollback protection)
key_directory_cache  verified key directory of the tenant
open_client          connections, loops and parts of a client that is open
receipts             proofs of jobs, collected and made into receipts
request_ids          idempotency keys and request ids of CI runs
request_runner       one request: submit, wait, renew
result_checker       verification of results
service_clock        this host's clock against Redis', and dates of envelopes
sign_stream          ``sign_many()``: slices of the input under way at once
signatures           ``Signature``, and the outcome of a digest
signing_client       ``SigningClient``
signing_request      requests and the envelopes built of them
single_calls         concurrent ``sign()`` calls, which share envelopes
submitted_job        ``Job``, and the wait for its parts

Must never import ``queueing.coordination`` or ``workers``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queueing.client.signing_client import SigningClient

__all__ = ["SigningClient"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'queueing.client' has no attribute {name!r}")
    return getattr(import_module("queueing.client.signing_client"), name)
