"""Shares of tenants in the places of a relay: a silent Redis costs its own tenants, not those of another one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping


@dataclass(slots=True)
class _Holder:
    """Tenant, or the tenants of one Redis together, with the places that they have."""

    taken: int = 0


class Shares:
    """Places of one kind.

    A tenant among several has at most ``times`` as many places as are free beside them, and so have the tenants of one Redis
    together where there are several: alone a half of all places for 1, three quarters for 3, and less with each that takes much.
    The first place may be the last that is free.

    ``redis_of``: all tenants, with what tells the Redis of each from others. ``own``: places of tenants that the operator has set,
    in place of the rule.
    """

    def __init__(
        self,
        whole: int,
        redis_of: Mapping[str, Hashable],
        *,
        times: int = 1,
        own: Mapping[str, int] | None = None,
    ) -> None:
        self.taken = 0
        self._whole = whole
        self._times = times
        self._own = own or {}
        self._tenants = {tenant: _Holder() for tenant in redis_of}
        self._all_redis = {redis: _Holder() for redis in redis_of.values()}
        self._redis_of = redis_of

    def are_free(self, places: int = 1) -> bool:
        """Whether there are so many places that no tenant has."""
        return self.taken + places <= self._whole

    def may_take(self, tenant: str, places: int = 1) -> bool:
        """Whether the tenant may have so many more of the free places."""
        own, redis = self._tenants[tenant], self._all_redis[self._redis_of[tenant]]
        if tenant in self._own:
            return own.taken + places <= self._own[tenant]
        most = self._times * (self._whole - self.taken - places)
        return all(
            not holder.taken or holder.taken + places <= most
            for holder, alone in ((own, len(self._tenants) == 1), (redis, len(self._all_redis) == 1))
            if not alone
        )

    @contextlib.contextmanager
    def held(self, tenant: str, places: int = 1) -> Iterator[None]:
        """Within the block the tenant has so many places more."""
        holders = self._tenants[tenant], self._all_redis[self._redis_of[tenant]]
        self._count(holders, places)
        try:
            yield
        finally:
            self._count(holders, -places)

    def _count(self, holders: tuple[_Holder, ...], places: int) -> None:
        self.taken += places
        for holder in holders:
            holder.taken += places
