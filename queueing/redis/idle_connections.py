"""Closing what a pool has and nobody uses, so that the next command connects anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import ConnectionPool
    from redis.asyncio.connection import AbstractConnection


async def close_idle(pool: ConnectionPool) -> None:
    """Close the connections that wait in the pool. Raises nothing.

    They leave the pool first. redis-py closes them where they are, which takes a while: whoever is given one of
    them meanwhile finds its stream gone in the middle of a command (``AttributeError``, which is no error of Redis).
    """
    idle, pool._available_connections = pool._available_connections, []  # noqa: SLF001 - it has no method for it
    try:
        await asyncio.gather(*(connection.disconnect() for connection in idle), return_exceptions=True)
    finally:
        abandon(idle)


def abandon(connections: Iterable[AbstractConnection]) -> None:
    """Close what is still open, without a wait.

    A cancellation that meets ``gather`` before its tasks have begun ends them all: none has closed anything.
    """
    for connection in connections:
        connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001 - its own ``disconnect`` is a coroutine
