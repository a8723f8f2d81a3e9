"""Shards of Redis whose replicas do not confirm: nothing is claimed there for a while. Tenants of other shards continue.

A single Redis is one shard, and then all tenants are held.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queueing.broker.claims import Claims
    from workers.pipeline.result_publisher import ResultPublisher

FIRST_HOLD_S: Final = 0.05
LONGEST_HOLD_S: Final = 1.0
"""Time between two claims of a Redis that does not confirm."""

LONGEST_SHARD_HOLD_S: Final = 5.0
"""The same for one shard of several: each such claim delays those of the other shards by the ``WAIT`` of this one."""


class HeldShards:
    """Shards by their failed confirmations, of claims (told) and of commits (asked of the publisher)."""

    def __init__(
        self, claims: Claims, publisher: ResultPublisher, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._claims = claims
        self._publisher = publisher
        self._clock_s = clock_s
        self._pauses: dict[str, Backoff] = {}
        self._until_s: dict[str, float] = {}

    def not_held(self, tenants: Iterable[str]) -> Iterable[str]:
        """Tenants among these that may be claimed for now, in order. O(tenants + tenants whose commits wait)."""
        now_s = self._clock_s()
        held = {shard for shard, until_s in self._until_s.items() if until_s > now_s}
        # Results that were signed meanwhile would only pile up.
        held.update(map(self._claims.shard_of, self._publisher.unconfirmed))
        return (each for each in tenants if self._claims.shard_of(each) not in held) if held else tenants

    def until_s(self) -> float:
        """Time at which the next shard is tried again (monotonic); infinite without any."""
        now_s = self._clock_s()
        ends = [end_s for end_s in self._until_s.values() if end_s > now_s]
        if self._publisher.unconfirmed:
            ends.append(now_s + FIRST_HOLD_S)
        return min(ends, default=float("inf"))

    def unconfirmed(self, tenants: Iterable[str]) -> None:
        """Claims of these tenants were not confirmed: hold their shards, for twice as long each time."""
        for shard in {self._claims.shard_of(tenant) for tenant in tenants}:
            most_s = LONGEST_SHARD_HOLD_S if shard else LONGEST_HOLD_S
            pause = self._pauses.setdefault(shard, Backoff(first_s=FIRST_HOLD_S, most_s=most_s))
            self._until_s[shard] = self._clock_s() + pause.next_s()

    def confirmed(self, tenants: Iterable[str]) -> None:
        """Claims of these tenants were confirmed."""
        if self._until_s:
            for shard in {self._claims.shard_of(tenant) for tenant in tenants}:
                self._pauses.pop(shard, None)
                self._until_s.pop(shard, None)
