"""Arrivals: at the rates of the curve, in order, and the same for a tenant whichever others there are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from bench.day.arrivals import arrivals, builds_of, comers, due_by
from bench.day.curve import compressed_day, phase_at

PHASES = compressed_day(300.0)


@dataclass(frozen=True)
class Tenant:
    name: str
    builds_per_s: float


BUSY, RARE = Tenant("busy", 20.0), Tenant("rare", 1e-7)


def test_rates_follow_the_curve() -> None:
    """2,000, 6,000 and 2,000 are due; random arrivals differ by some root of that, and are the same for a seed."""
    found = [phase_at(PHASES, at_s).name for at_s in builds_of(BUSY, PHASES, seed=1)]
    for phase in PHASES:
        due = BUSY.builds_per_s * phase.level * phase.seconds
        assert found.count(phase.name) == pytest.approx(due, abs=5 * due**0.5)


def test_moments_are_in_order_and_within_the_day() -> None:
    found = list(builds_of(BUSY, PHASES, seed=1))
    assert all(earlier < later for earlier, later in pairwise(found))
    assert found[0] >= 0.0
    assert found[-1] <= 300.0


def test_a_tenant_asks_at_the_same_moments_beside_others() -> None:
    """So a run with more tenants, or another process, repeats a run; another seed does not."""
    alone = list(builds_of(BUSY, PHASES, seed=1))
    others = [Tenant(f"other-{number}", 3.0) for number in range(5)]
    beside = [at_s for at_s, name in arrivals([*others, BUSY], PHASES, seed=1) if name == "busy"]
    assert beside == alone
    assert list(builds_of(BUSY, PHASES, seed=2)) != alone


def test_arrivals_of_all_are_in_order() -> None:
    tenants = [Tenant(f"t-{number}", 2.0 + number) for number in range(4)]
    moments = [at_s for at_s, _ in arrivals(tenants, PHASES, seed=1)]
    assert moments == sorted(moments)
    assert len(moments) == sum(len(list(builds_of(tenant, PHASES, seed=1))) for tenant in tenants)


def test_who_comes_is_who_asks() -> None:
    """A tenant with a build in four months has none in five minutes; each that comes asks, and no other."""
    some = [Tenant(f"t-{number}", 1 / 500) for number in range(50)]
    coming = comers([BUSY, RARE, *some], PHASES, seed=1)
    assert coming == {name for _, name in arrivals([BUSY, RARE, *some], PHASES, seed=1)}
    assert "busy" in coming
    assert "rare" not in coming
    assert 0 < len(coming) - 1 < len(some)


def test_what_is_due_is_counted_by_the_plan() -> None:
    """A load process that sleeps through three requests has not asked for less; what is due at the moment itself counts."""
    plan = [(1.0, "big"), (2.0, "small"), (2.5, "big"), (9.0, "small")]
    assert due_by([0.0, 1.0, 1.9, 3.0, 100.0], {"big": 64, "small": 16}, plan) == [0, 64, 64, 144, 160]
    assert due_by([1.0, 2.0], {}, []) == [0, 0]
