"""Sharing of one HSM by several tokens, with lanes that exist in the test only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from workers.lanes.supervisor.hsm_sharing import HsmShare, SharedHsm


@dataclass(slots=True)
class Token:
    """A token with a number of lanes and endless work, or none."""

    name: str
    hsm: SharedHsm
    operations: int
    lanes: int = 8
    weight: float = 1.0
    backlogged: bool = False
    busy: set[int] = field(default_factory=set)
    share: HsmShare = field(init=False)

    def __post_init__(self) -> None:
        self.share = self.hsm.join(self, operations=self.operations)

    def pump(self) -> None:
        for lane in range(self.lanes):
            if self.backlogged and lane not in self.busy and self.share.request(lane):
                self.share.acquire(lane)
                self.busy.add(lane)

    def work(self) -> None:
        self.backlogged = True
        self.pump()

    def chunk_done(self, lane: int) -> None:
        """As ``TokenPool.chunk_answered`` does."""
        self.share.record_usage(0.05)
        if self.backlogged and self.share.request(lane):
            return
        if not self.backlogged:
            self.share.idle()
        self.busy.discard(lane)
        self.share.release(lane)


def rounds(tokens: list[Token], count: int) -> Counter[str]:
    """Have every busy lane end chunks in turn; returns the number of chunks of each token."""
    done: Counter[str] = Counter()
    for _ in range(count):
        for token in tokens:
            for lane in sorted(token.busy):
                done[token.name] += 1
                token.chunk_done(lane)
    return done


def test_a_token_alone_on_its_hsm_has_all_of_it() -> None:
    """No operations are kept free, since there is no other token."""
    only = Token("only", SharedHsm(8), 2)
    only.work()
    assert only.share.using == 8


def test_the_operations_of_one_lane_stay_free_for_an_idle_token() -> None:
    """An idle token starts at once when it has work, without waiting for another token's chunk."""
    hsm = SharedHsm(8)
    loud, quiet = Token("loud", hsm, 2), Token("quiet", hsm, 2)
    loud.work()
    assert loud.share.using == 6
    quiet.work()
    assert quiet.share.using == 2


def test_backlogged_tokens_come_to_equal_parts() -> None:
    """The token that has more than its share gives up a lane's operations at its next chunk."""
    hsm = SharedHsm(8)
    loud, quiet = Token("loud", hsm, 2), Token("quiet", hsm, 2)
    loud.work()
    quiet.work()
    rounds([loud, quiet], 2)
    assert (loud.share.using, quiet.share.using) == (4, 4)


def test_weights_divide_the_hsm() -> None:
    """Weights of three to one give operations of three to one."""
    hsm = SharedHsm(8)
    heavy, light = Token("heavy", hsm, 1, weight=3.0), Token("light", hsm, 1)
    light.work()
    heavy.work()
    rounds([heavy, light], 8)
    assert (heavy.share.using, light.share.using) == (6, 2)


def test_a_token_with_its_share_gets_no_more_while_another_waits() -> None:
    """While another waits for what is its own, a token with its part of the device begins no further lane."""
    hsm = SharedHsm(8)
    loud, late = Token("loud", hsm, 2), Token("late", hsm, 2)
    for lane in range(2):
        assert loud.share.request(lane)
        loud.share.acquire(lane)
    late.share.waiting = True
    assert not loud.share.request(2)
    late.share.waiting = False
    assert loud.share.request(2)


def test_more_tokens_than_lanes_take_turns() -> None:
    """Five tokens, room for two lanes: all are served alike, and never more than the device allows."""
    hsm = SharedHsm(8)
    tokens = [Token(f"t{i}", hsm, 4) for i in range(5)]
    for token in tokens:
        token.work()
    done: Counter[str] = Counter()
    for _ in range(500):
        done += rounds(tokens, 1)
        assert sum(token.share.using for token in tokens) <= 8
    values = [done[token.name] for token in tokens]
    assert sum(values) ** 2 / (5 * sum(v * v for v in values)) >= 0.95


def test_operations_of_an_idle_token_are_used_by_the_others() -> None:
    """Operations of a token without work are taken over at once."""
    hsm = SharedHsm(8)
    one, other = Token("one", hsm, 2), Token("other", hsm, 2)
    one.work()
    other.work()
    rounds([one, other], 3)
    other.backlogged = False
    rounds([other], 1)
    assert (one.share.using, other.share.using) == (6, 0)


def test_a_token_that_leaves_frees_what_it_had() -> None:
    """The other token uses its operations at once."""
    hsm = SharedHsm(4)
    one, other = Token("one", hsm, 2), Token("other", hsm, 2)
    one.work()
    other.work()
    other.share.leave()
    assert one.share.using == 4


def test_a_lane_larger_than_the_hsm_counts_as_all_of_it() -> None:
    """It is granted when the HSM is idle, and no other lane is granted meanwhile."""
    hsm = SharedHsm(2)
    big, small = Token("big", hsm, 8), Token("small", hsm, 1)
    big.work()
    small.work()
    assert (big.share.using, small.share.using) == (2, 0)
    rounds([big], 1)
    assert small.share.using >= 1


@pytest.mark.parametrize("operations", [1, 3, 8])
def test_no_token_starves(operations: int) -> None:
    """A token whose work comes when the HSM is full is served within a few chunks."""
    hsm = SharedHsm(8)
    loud = [Token(f"loud{i}", hsm, operations) for i in range(4)]
    for token in loud:
        token.work()
    late = Token("late", hsm, operations)
    late.work()
    assert rounds([*loud, late], 5)["late"] > 0
