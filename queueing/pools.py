"""Pools of connections that shrink again: what a peak has opened is closed when nobody has needed it for a minute.

redis-py's pool keeps as many connections as were ever in use at once, for as long as its process lives; after an
outage, when everybody asks again at once, that is a number which no later load needs.
"""

from __future__ import annotations

import time
from typing import Final
from weakref import WeakKeyDictionary

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

IDLE_S: Final = 60.0


class ShrinkingPool(ConnectionPool):
    """redis-py's pool, which hands out the connection that came back last: the first in its list is idle longest.

    Each release closes at most one; it does not wait for the close, so that a cancellation cannot meet it.
    """

    idle_s: float = IDLE_S

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # redis-py's own
        self._idle_since_s: WeakKeyDictionary[AbstractConnection, float] = WeakKeyDictionary()

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        await super().release(connection)
        now_s = time.monotonic()
        self._idle_since_s[connection] = now_s
        for longest in self._available_connections[:1]:
            if now_s - self._idle_since_s.get(longest, now_s) > self.idle_s:
                self._available_connections.remove(longest)
                await longest.disconnect(nowait=True)


def shrinking(pool: ConnectionPool) -> ShrinkingPool:
    """One of the same connections."""
    return ShrinkingPool(pool.connection_class, pool.max_connections, **pool.connection_kwargs)
