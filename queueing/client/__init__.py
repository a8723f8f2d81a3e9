"""What producers use: ``SigningClient`` and its parts. ``SigningClient`` is loaded when asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queueing.client.signing_client import SigningClient

__all__ = ["SigningClient"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'queueing.client' has no attribute {name!r}")
    return getattr(import_module("queueing.client.signing_client"), name)
