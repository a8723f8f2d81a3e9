"""Shards of Redis without Redis: the place of each tenant, and the commits that wait for replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from queueing.broker.claims import Claims
from workers.intake.held_shards import HeldShards
from workers.pipeline.result_publisher import ResultPublisher


@dataclass
class Shards:
    """One Redis, unless ``places`` names the shards of some tenants."""

    places: dict[str, str] = field(default_factory=dict)
    unconfirmed: set[str] = field(default_factory=set)
    lookups: int = 0

    def shard_of(self, tenant: str) -> str:
        self.lookups += 1
        return self.places.get(tenant, "")

    def held(self, clock_s: Callable[[], float] = lambda: 0.0) -> HeldShards:
        """What claim loops ask."""
        return HeldShards(cast("Claims", self), cast("ResultPublisher", self), clock_s=clock_s)
