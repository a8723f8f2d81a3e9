"""Address of the primary by the Sentinels: all of them are asked, and the newest configuration counts.

redis-py takes the first answer. For seconds after a failover that may come from a Sentinel that does not know of it, and
while replicas are still being moved even the Sentinel in charge lists the old address among its ``masters``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.utils import str_if_bytes

from queueing.aio.owned_tasks import end_tasks
from queueing.redis.errors import REDIS_ERRORS
from queueing.redis.pool import ShrinkingPool, close_idle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

OTHERS_S: Final = 0.2
"""Time for the other Sentinels once one has answered: one that is down must not delay every connection."""

Address = tuple[str, int]

Seen = tuple[int, Address]
"""The epoch of a Sentinel's configuration, and the primary's address by it."""


class NewestSentinel(Sentinel):
    """redis-py's Sentinel with another way to find the primary."""

    async def discover_master(self, service_name: str) -> Address:
        """Host and port of the primary; raises ``MasterNotFoundError``, a ``ConnectionError``."""
        asked = [asyncio.ensure_future(_seen_by(sentinel, service_name)) for sentinel in self.sentinels]
        try:
            answers = await _answers(asked)
        finally:
            await end_tasks(asked)
        seen = [answer for answer in answers if not isinstance(answer, Exception)]
        if not seen:
            fault = next((answer for answer in answers if isinstance(answer, Exception)), None)
            raise MasterNotFoundError(f"no Sentinel names a primary of {service_name!r}") from fault
        return max(seen)[1]


class SentinelPool(ShrinkingPool, SentinelConnectionPool):
    """Closes the connections to the Sentinels too, when it is closed itself."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's signature
        """All, or those that are idle."""
        if not inuse_connections:
            await close_idle(self)
            return
        async with contextlib.AsyncExitStack() as closing:  # each, whatever comes of the others
            for sentinel in self.sentinel_manager.sentinels:
                closing.push_async_callback(sentinel.aclose)
            await super().disconnect(inuse_connections)


async def _seen_by(sentinel: Redis, name: str) -> Seen | Exception | None:
    """Answer of one Sentinel (epoch of its configuration, address), or its error; None where no primary is up."""
    try:
        state: dict[str, Any] = await sentinel.sentinel_master(name)  # type: ignore[no-untyped-call]
        address: tuple[bytes, int] | None = await sentinel.sentinel_get_master_addr_by_name(name)  # type: ignore[no-untyped-call]
    except REDIS_ERRORS as error:
        return error
    if address is None:
        return None
    host, port = str_if_bytes(address[0]), int(address[1])
    moving = (host, port) != (state["ip"], state["port"])  # promoted; the flags are about the old one
    up = state["is_master"] and not state["is_sdown"] and not state["is_odown"]
    return (state["config-epoch"], (host, port)) if moving or up else None


async def _answers(
    asked: Sequence[asyncio.Future[Seen | Exception | None]],
) -> list[Seen | Exception]:
    """Answers and errors of the Sentinels, soon after the first answer that names a primary."""
    pending = set(asked)
    found: list[Seen | Exception] = []
    while pending:
        done, pending = await asyncio.wait(
            pending,
            timeout=OTHERS_S if any(isinstance(each, tuple) for each in found) else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not done:
            break
        found += [answer for answer in (task.result() for task in done) if answer is not None]
    return found
