"""Connections to Redis in a soak: pools that follow peaks are well, and a leak below the peaks is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from queueing.redis.pool import IDLE_S
from tests.faults.flatness import Sample, judge
from tests.faults.history import TenantKey, read_history
from tests.faults.soak import BOUNDS, MOST_CONNECTIONS, SAMPLE_S, UNUSED_S, connections, keep_broken

HOUR_S = 3600
TOTAL = "redis: connections"
UNUSED = "redis: unused connections"
OF_REDIS = {bound.name: bound for bound in BOUNDS if bound.name in {TOTAL, UNUSED}}


def listed(*idle_s: float) -> list[dict[str, str]]:
    """As redis-py reads CLIENT LIST."""
    return [{"id": str(i), "name": "", "idle": str(int(idle))} for i, idle in enumerate(idle_s)]


def an_hour(leaks_every_s: float) -> Iterator[tuple[float, dict[str, float]]]:
    """Samples of pools that grow by each fault, until Redis is restarted: that also ends what was leaked until then."""
    rng = Random(1)
    restarted_s, until_s = 0.0, rng.uniform(20, 150)
    leaked: list[float] = []
    for i in range(int(HOUR_S / SAMPLE_S)):
        now_s = i * SAMPLE_S
        if now_s > until_s:
            restarted_s, until_s, leaked = now_s, now_s + rng.uniform(20, 150), []
        if now_s and now_s % leaks_every_s < SAMPLE_S:
            leaked.append(now_s)
        pools = 20 + int((now_s - restarted_s) / 7)
        idle_s = [min(rng.uniform(0, IDLE_S + 2), now_s - restarted_s) for _ in range(pools)]
        yield now_s, connections(listed(*idle_s, *(now_s - since_s for since_s in leaked)))


@pytest.mark.parametrize(
    "leaks_every_s, well",
    [(2 * HOUR_S, True), (600, False), (60, False)],
    ids=["no-leak", "one-in-ten-minutes", "one-a-minute"],
)
def test_a_leak_is_found_below_the_peaks_of_the_pools(leaks_every_s: float, *, well: bool) -> None:
    """Nobody uses what is leaked; its number alone would be lost in that of the pools, which each restart of Redis resets."""
    samples: dict[str, list[Sample]] = {TOTAL: [], UNUSED: []}
    for now_s, values in an_hour(leaks_every_s):
        for name, value in values.items():
            samples[name].append((now_s, value))
    assert judge(OF_REDIS[TOTAL], samples[TOTAL]).flat
    assert judge(OF_REDIS[UNUSED], samples[UNUSED]).flat is well


def test_connections_that_pile_up_in_use_are_found_by_their_slope() -> None:
    """Ten in an hour come back after each restart of Redis, and are far below the largest number."""
    samples = [(now_s, values[TOTAL] + now_s // 360) for now_s, values in an_hour(2 * HOUR_S)]
    assert max(value for _, value in samples) < MOST_CONNECTIONS
    assert not judge(OF_REDIS[TOTAL], samples).flat


@pytest.mark.parametrize("idle_s, unused", [(IDLE_S + 5, 0), (UNUSED_S, 0), (UNUSED_S + 1, 1)])
def test_a_connection_that_a_pool_would_have_closed_is_nobodys(idle_s: float, unused: int) -> None:
    """A freeze of Redis adds some seconds to the minute."""
    assert connections(listed(0, 3, idle_s)) == {TOTAL: 3, UNUSED: unused}


def test_more_connections_than_the_pools_may_have_are_too_many() -> None:
    """Also for a moment, and with every one in use."""
    values = connections(listed(*[0.0] * (MOST_CONNECTIONS + 1)))
    assert not judge(OF_REDIS[TOTAL], [(0.0, 30.0), (2.0, values[TOTAL]), (4.0, 30.0)]).flat


def test_the_history_of_a_round_that_broke_a_rule_is_kept(tmp_path: Path) -> None:
    """The next round begins with none, and a finding without its history cannot be explained."""
    events = [TenantKey(at=0, tenant="acme", token="acme", spki=b"key")]
    keep_broken(tmp_path, 1, [], events)
    keep_broken(tmp_path, 2, ["round 2: I6 rate limit exceeded"], events)
    assert [file.name for file in tmp_path.iterdir()] == ["round-2.jsonl"]
    assert list(read_history(tmp_path / "round-2.jsonl")) == events
