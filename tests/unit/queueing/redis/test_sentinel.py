"""Finding the primary by the Sentinels, some of which are old-fashioned, away or silent."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.redis import sentinel as module
from queueing.redis.sentinel import NewestSentinel

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


@dataclass(slots=True)
class FakeSentinel:
    """Reply of one Sentinel. ``listed`` is the address among its masters, ``address`` the one for clients."""

    address: tuple[str, int] | None = OLD
    epoch: int = 1
    listed: tuple[str, int] = OLD
    down: bool = False
    error: Exception | None = None
    silent: bool = False
    ended: bool = field(default=False, init=False)

    async def sentinel_master(self, name: str) -> dict[str, Any]:
        assert name == "queue"
        try:
            if self.silent:
                await asyncio.Event().wait()
        finally:
            self.ended = True
        if self.error is not None:
            raise self.error
        host, port = self.listed
        state = {"ip": host, "port": port, "config-epoch": self.epoch}
        return {**state, "is_master": True, "is_sdown": self.down, "is_odown": self.down}

    async def sentinel_get_master_addr_by_name(self, _: str) -> tuple[bytes, int] | None:
        """Bytes, as redis-py has it."""
        return None if self.address is None else (self.address[0].encode(), self.address[1])


async def primary_by(*fakes: FakeSentinel) -> tuple[str, int]:
    sentinel = NewestSentinel([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = cast("list[Redis]", list(fakes))
    return await sentinel.discover_master("queue")


async def test_the_newest_configuration_counts() -> None:
    """In every order of the Sentinels."""
    for fakes in itertools.permutations([FakeSentinel(), FakeSentinel(NEW, 2, NEW), FakeSentinel()]):
        assert await primary_by(*fakes) == NEW


async def test_a_promoted_replica_counts_while_the_others_are_still_being_moved() -> None:
    """The Sentinel in charge lists the old address, even as down, and gives clients the new one."""
    in_charge = FakeSentinel(NEW, 2, OLD, down=True)
    assert await primary_by(FakeSentinel(), in_charge, FakeSentinel(down=True)) == NEW


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), AuthenticationError("no"), OSError("gone")])
async def test_a_sentinel_that_is_away_is_left_out(error: Exception) -> None:
    """One is enough."""
    assert await primary_by(FakeSentinel(error=error), FakeSentinel(), FakeSentinel(error=error)) == OLD


async def test_a_silent_sentinel_holds_up_no_caller_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once another one has answered; its question ends too."""
    monkeypatch.setattr(module, "OTHERS_S", 0.0)
    silent = FakeSentinel(silent=True)
    assert await primary_by(silent, FakeSentinel()) == OLD
    assert silent.ended


@pytest.mark.parametrize(
    "fakes",
    [
        [FakeSentinel(down=True)],
        [FakeSentinel(address=None)],
        [FakeSentinel(error=RedisConnectionError("gone"))] * 3,
        [],
    ],
    ids=["down", "unknown", "all away", "none"],
)
async def test_no_primary_is_an_error_that_is_tried_again(fakes: list[FakeSentinel]) -> None:
    """It is a ConnectionError, which the pool's retries and all that wait for Redis know."""
    with pytest.raises(MasterNotFoundError) as caught:
        await primary_by(*fakes)
    assert isinstance(caught.value, RedisConnectionError)
