"""Heads in a Redis without Redis, with shards that may be away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from queueing.coordination.record_heads import HeadUpdate
from queueing.errors import QueueUnavailable


@dataclass
class HeadStore:
    """In place of ``queueing.coordination.record_heads``. ``away``: keys whose shard does not answer; ``down``: none does.

    ``thrice``: it was called three times; ``replaced``: it has taken a head.
    """

    values: dict[str, bytes] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    down: bool = False
    sent: int = 0
    written: list[str] = field(default_factory=list)
    thrice: asyncio.Event = field(default_factory=asyncio.Event)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_heads(self, _: Redis, keys: Sequence[str]) -> list[bytes | QueueUnavailable]:
        self._send()
        return [QueueUnavailable() if key in self.away else self.values.get(key, b"") for key in keys]

    async def replace_heads(self, _: Redis, updates: Sequence[HeadUpdate]) -> list[bool | QueueUnavailable]:
        self._send()
        return [self._replaced(update) for update in updates]

    def _replaced(self, update: HeadUpdate) -> bool | QueueUnavailable:
        if update.key in self.away:
            return QueueUnavailable()
        if self.values.get(update.key, b"") != update.seen:
            return False
        self.values[update.key] = update.head
        self.written.append(update.key)
        self.replaced.set()
        return True

    def _send(self) -> None:
        self.sent += 1
        if self.sent >= 3:
            self.thrice.set()
        if self.down:
            raise QueueUnavailable
