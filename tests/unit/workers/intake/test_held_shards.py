"""Held shards: the tenants that wait for replicas, and for how long."""

from __future__ import annotations

import math

import pytest

from tests.support.fakes.shards import Shards
from workers.intake.held_shards import (
    FIRST_HOLD_S,
    LONGEST_HOLD_S,
    LONGEST_SHARD_HOLD_S,
    HeldShards,
)


class ShardSetup:
    """Two shards, a clock that is moved by hand, and the tenants of each shard."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.shards = Shards({"acme": "one:1", "ajax": "one:1", "globex": "two:1"})
        self.held: HeldShards = self.shards.held(lambda: self.now_s)

    def held_tenants(self) -> list[str]:
        free = set(self.held.not_held(self.shards.places))
        return [tenant for tenant in self.shards.places if tenant not in free]


@pytest.fixture
def setup() -> ShardSetup:
    return ShardSetup()


def test_only_tenants_of_the_shard_that_does_not_confirm_are_held(setup: ShardSetup) -> None:
    """Tenants of another shard are claimed for."""
    setup.held.unconfirmed(["acme"])
    assert setup.held_tenants() == ["acme", "ajax"]
    assert setup.now_s < setup.held.until_s() <= setup.now_s + FIRST_HOLD_S


def test_a_shard_is_held_longer_each_time_and_not_at_all_once_it_confirms(setup: ShardSetup) -> None:
    """A hold is at most five seconds. After a confirmation the next outage begins with the first hold."""
    holds = []
    for _ in range(20):
        setup.held.unconfirmed(["acme"])
        holds.append(setup.held.until_s() - setup.now_s)
        setup.now_s = setup.held.until_s()
        assert setup.held_tenants() == []
        assert setup.held.until_s() == math.inf, "a hold that is over is no time to wait for"
    assert holds[:7] == sorted(holds[:7])
    assert holds[0] < LONGEST_HOLD_S < holds[-1] <= LONGEST_SHARD_HOLD_S
    setup.held.confirmed(["globex"])
    setup.held.unconfirmed(["acme"])
    assert setup.held.until_s() - setup.now_s > LONGEST_HOLD_S
    setup.held.confirmed(["ajax"])
    assert setup.held_tenants() == []
    setup.held.unconfirmed(["acme"])
    assert setup.held.until_s() - setup.now_s <= FIRST_HOLD_S, "a new outage begins with the first pause"


def test_a_commit_that_is_not_confirmed_holds_its_shard(setup: ShardSetup) -> None:
    """Signed results would only pile up."""
    setup.shards.unconfirmed = {"ajax"}
    assert setup.held_tenants() == ["acme", "ajax"]
    assert setup.held.until_s() == setup.now_s + FIRST_HOLD_S
    setup.shards.unconfirmed = set()
    assert (setup.held_tenants(), setup.held.until_s()) == ([], math.inf)


def test_a_single_redis_is_one_shard(setup: ShardSetup) -> None:
    """All tenants wait, a second at most."""
    setup.shards.places = dict.fromkeys(setup.shards.places, "")
    for _ in range(20):
        setup.held.unconfirmed(["acme"])
    assert setup.held_tenants() == ["acme", "ajax", "globex"]
    assert setup.held.until_s() - setup.now_s <= LONGEST_HOLD_S


def test_each_tenant_is_looked_up_once_however_many_commits_wait(setup: ShardSetup) -> None:
    """The cost is linear: a thousand tenants of one shard wait, and a thousand of another are ready."""
    away, ready = [f"away-{i}" for i in range(1000)], [f"ready-{i}" for i in range(1000)]
    setup.shards.places = {**dict.fromkeys(away, "one:1"), **dict.fromkeys(ready, "two:1")}
    setup.shards.unconfirmed = set(away)
    setup.shards.lookups = 0
    assert list(setup.held.not_held(ready)) == ready
    assert setup.shards.lookups == 2000
