"""Hindrances of a tenant: why a worker signs nothing for it, for clients that wait. A tenant's Redis user may read its own.

Written again every few seconds while it lasts, and gone soon after; of several hosts the last one is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

KEEP_MS: Final = 15_000
"""Three intervals of the workers' reports."""

MOST_NAMED: Final = 16
"""Tokens of one kind that are named."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Names = Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MOST_NAMED)]


_LOG_SHARE_USED: Final = "its records of today have filled its share of that host's disk, until 00:00 UTC or until the operator makes space"


class Hindrance(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a tenant that a host cannot use; none is left that it can. Only a person ends the first two kinds.

    ``log_share_used``: the tenant's records have filled its share of the disk of that host's log.
    """

    host: _Text
    refused_pins: _Names = ()
    drained: _Names = ()
    failing: _Names = ()
    log_share_used: bool = False

    def __str__(self) -> str:
        causes = [
            *(f"token {token} refused its PIN" for token in self.refused_pins),
            *(f"token {token} is drained" for token in self.drained),
            *(f"token {token} fails" for token in self.failing),
            *[_LOG_SHARE_USED] * self.log_share_used,
        ]
        remedy = " (the operator has to act)" if self.refused_pins or self.drained else ""
        return f"host {self.host} signs nothing for this tenant: {', '.join(causes)}{remedy}"


_decoder: Final = msgspec.msgpack.Decoder(Hindrance)


async def publish(redis: Redis, hindrances: Mapping[str, Hindrance]) -> None:
    """Publish hindrances by tenant, in one round trip (of a cluster: one for each shard). Raises ``QueueUnavailable``."""
    with redis_errors("publish hindrances"):
        async with redis.pipeline(transaction=False) as pipe:
            for tenant, hindrance in hindrances.items():
                pipe.set(keyspace.hindrance(tenant), msgspec.msgpack.encode(hindrance), px=KEEP_MS)
            await pipe.execute()


async def hindrance_of(redis: Redis, tenant: str) -> Hindrance | None:
    """The hindrance that a worker reported last; None without one, and for a value that cannot be read.

    One round trip. Raises ``QueueUnavailable`` (retryable), also for a Redis user of an earlier version, who may not read it.
    """
    with redis_errors("read why jobs wait"):
        answer = await redis.get(keyspace.hindrance(tenant))
        value: bytes | None = checked(answer, bytes | None)  # type: ignore[arg-type]  # a union is a type
    try:
        return None if value is None else _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
