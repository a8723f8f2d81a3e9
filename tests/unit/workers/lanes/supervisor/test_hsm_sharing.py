"""One HSM behind several tokens: who may run how much of it, with lanes that exist in the test only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from workers.lanes.supervisor.hsm_sharing import HsmShare, SharedHsm


@dataclass(slots=True)
class Token:
    """A token with a number of lanes and endless work, or none."""

    name: str
    budget: SharedHsm
    operations: int
    lanes: int = 8
    weight: float = 1.0
    backlogged: bool = False
    busy: set[int] = field(default_factory=set)
    member: HsmShare = field(init=False)

    def __post_init__(self) -> None:
        self.member = self.budget.join(operations=self.operations, weight=lambda: self.weight, wake=self.feed)

    def feed(self) -> None:
        for lane in range(self.lanes):
            if self.backlogged and lane not in self.busy and self.member.may_send(lane):
                self.member.began(lane)
                self.busy.add(lane)

    def work(self) -> None:
        self.backlogged = True
        self.feed()

    def chunk_done(self, lane: int) -> None:
        """As ``TokenLanes.lane_answered`` does."""
        self.member.did(0.05)
        if self.backlogged and self.member.may_send(lane):
            return
        if not self.backlogged:
            self.member.content()
        self.busy.discard(lane)
        self.member.ended(lane)


def rounds(tokens: list[Token], count: int) -> Counter[str]:
    """Every busy lane ends a chunk in turn; the chunks of each token."""
    done: Counter[str] = Counter()
    for _ in range(count):
        for token in tokens:
            for lane in sorted(token.busy):
                done[token.name] += 1
                token.chunk_done(lane)
    return done


def test_a_token_alone_on_its_device_has_all_of_it() -> None:
    """Nobody else is there for whom a lane would be kept."""
    only = Token("only", SharedHsm(8), 2)
    only.work()
    assert only.member.using == 8


def test_a_lane_stays_free_for_whoever_is_idle_now() -> None:
    """It starts at once, and does not wait for anybody's chunk."""
    budget = SharedHsm(8)
    loud, quiet = Token("loud", budget, 2), Token("quiet", budget, 2)
    loud.work()
    assert loud.member.using == 6
    quiet.work()
    assert quiet.member.using == 2


def test_backlogged_tokens_come_to_equal_parts() -> None:
    """Whoever has more gives way at its next chunk."""
    budget = SharedHsm(8)
    loud, quiet = Token("loud", budget, 2), Token("quiet", budget, 2)
    loud.work()
    quiet.work()
    rounds([loud, quiet], 2)
    assert (loud.member.using, quiet.member.using) == (4, 4)


def test_weights_divide_the_device() -> None:
    """Three to one."""
    budget = SharedHsm(8)
    heavy, light = Token("heavy", budget, 1, weight=3.0), Token("light", budget, 1)
    light.work()
    heavy.work()
    rounds([heavy, light], 8)
    assert (heavy.member.using, light.member.using) == (6, 2)


def test_what_falls_free_is_not_for_who_has_its_share() -> None:
    """While another waits for what is its own, a token with its part of the device begins no further lane."""
    budget = SharedHsm(8)
    loud, late = Token("loud", budget, 2), Token("late", budget, 2)
    for lane in range(2):
        assert loud.member.may_send(lane)
        loud.member.began(lane)
    late.member.hungry = True
    assert not loud.member.may_send(2)
    late.member.hungry = False
    assert loud.member.may_send(2)


def test_more_tokens_than_lanes_take_turns() -> None:
    """Five tokens, room for two lanes: all are served alike, and never more than the device allows."""
    budget = SharedHsm(8)
    tokens = [Token(f"t{i}", budget, 4) for i in range(5)]
    for token in tokens:
        token.work()
    done: Counter[str] = Counter()
    for _ in range(500):
        done += rounds(tokens, 1)
        assert sum(token.member.using for token in tokens) <= 8
    values = [done[token.name] for token in tokens]
    assert sum(values) ** 2 / (5 * sum(v * v for v in values)) >= 0.95


def test_what_one_gives_up_the_others_use() -> None:
    """When a token has no more work its operations are taken over at once."""
    budget = SharedHsm(8)
    one, other = Token("one", budget, 2), Token("other", budget, 2)
    one.work()
    other.work()
    rounds([one, other], 3)
    other.backlogged = False
    rounds([other], 1)
    assert (one.member.using, other.member.using) == (6, 0)


def test_a_token_that_leaves_frees_what_it_had() -> None:
    """Its lanes are gone."""
    budget = SharedHsm(4)
    one, other = Token("one", budget, 2), Token("other", budget, 2)
    one.work()
    other.work()
    other.member.leave()
    assert one.member.using == 4


def test_a_lane_larger_than_the_device_counts_as_all_of_it() -> None:
    """It is possible, and then it is alone."""
    budget = SharedHsm(2)
    big, small = Token("big", budget, 8), Token("small", budget, 1)
    big.work()
    small.work()
    assert (big.member.using, small.member.using) == (2, 0)
    rounds([big], 1)
    assert small.member.using >= 1


@pytest.mark.parametrize("operations", [1, 3, 8])
def test_nobody_starves(operations: int) -> None:
    """Whoever comes late to a full device is served within a few chunks."""
    budget = SharedHsm(8)
    loud = [Token(f"loud{i}", budget, operations) for i in range(4)]
    for token in loud:
        token.work()
    late = Token("late", budget, operations)
    late.work()
    assert rounds([*loud, late], 5)["late"] > 0
