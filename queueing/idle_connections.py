"""Closing what a pool has and nobody uses, so that the next command connects anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool


async def close_idle(pool: ConnectionPool) -> None:
    """Close the connections that wait in the pool. Raises nothing.

    They leave the pool first. redis-py closes them where they are, which takes a while: whoever is given one of
    them meanwhile finds its stream gone in the middle of a command (``AttributeError``, which is no error of Redis).
    """
    idle, pool._available_connections = pool._available_connections, []  # noqa: SLF001 - it has no method for it
    await asyncio.gather(*(connection.disconnect() for connection in idle), return_exceptions=True)
