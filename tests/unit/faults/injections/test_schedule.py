"""Schedules of the fault harness: drawn from the seed alone, and fair to every kind of fault."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.__main__ import seeds_of
from tests.faults.harness.redis_places import Deployment
from tests.faults.injections.kinds import KINDS, kinds_on, own_kinds
from tests.faults.injections.schedule import NOT_TOGETHER, Step, part_of, schedule
from tests.faults.run import Plan, deployment_of

LEAST_KINDS = 25


def test_the_same_seed_has_the_same_schedule() -> None:
    """And another seed another one."""
    assert schedule(17, tuple(KINDS), steps=6) == schedule(17, tuple(reversed(KINDS)), steps=6)
    assert schedule(17, tuple(KINDS), steps=6) != schedule(18, tuple(KINDS), steps=6)


def steps_of(seed: int) -> list[Step]:
    deployment = deployment_of(seed, Plan())
    return schedule(seed, kinds_on(deployment), steps=6, own=own_kinds(deployment))


def test_there_are_many_kinds_and_each_has_its_turn() -> None:
    """At least twice in a hundred seeds, on whichever Redis they run."""
    drawn = [kind for seed in range(1, 101) for step in steps_of(seed) for kind in step.kinds]
    assert len(KINDS) >= LEAST_KINDS
    assert min(drawn.count(kind) for kind in KINDS) >= 2


def test_one_seed_of_ten_runs_on_a_cluster_and_one_behind_sentinels() -> None:
    deployments = Counter(deployment_of(seed, Plan()) for seed in range(1, 101))
    assert deployments == {Deployment.ONE: 80, Deployment.CLUSTER: 10, Deployment.SENTINEL: 10}


@pytest.mark.parametrize("seed", [3, 7, 13, 17])
def test_every_other_step_of_a_cluster_or_of_sentinels_is_a_fault_of_theirs(seed: int) -> None:
    """The first step is one."""
    own = "cluster" if deployment_of(seed, Plan()) is Deployment.CLUSTER else "sentinel"
    theirs = [own in {part_of(kind) for kind in step.kinds} for step in steps_of(seed)]
    assert theirs == [True, False] * 3


def test_a_seed_has_faults_of_its_own_redis_only() -> None:
    """A cluster has no faults of a single server, and behind Sentinels there are none of a cluster."""
    for seed in range(1, 101):
        parts = {part_of(kind) for step in steps_of(seed) for kind in step.kinds}
        alone = parts & {"redis", "cluster", "sentinel"}
        match deployment_of(seed, Plan()):
            case Deployment.ONE:
                assert alone <= {"redis"}
            case Deployment.CLUSTER:
                assert alone == {"cluster"}
            case Deployment.SENTINEL:
                assert alone == {"sentinel"}


def test_a_plan_of_one_kind_runs_on_the_redis_that_has_it() -> None:
    """So that a kind can be tried alone."""
    assert deployment_of(1, Plan(only=("cluster.slot-moved",))) is Deployment.CLUSTER
    assert deployment_of(1, Plan(only=("sentinel.failed-over", "worker.kill"))) is Deployment.SENTINEL
    assert deployment_of(3, Plan(only=("worker.kill",))) is Deployment.ONE


def test_faults_that_no_promise_covers_together_do_not_come_together() -> None:
    """The loss of a primary and of a worker at once, for one (ADR 0018)."""
    assert NOT_TOGETHER
    for seed in range(1, 301):
        for step in steps_of(seed):
            parts = [part_of(kind) for kind in step.kinds]
            assert not any(two in NOT_TOGETHER.get(one, ()) for one in parts for two in parts)


def test_some_faults_come_in_pairs_of_different_parts() -> None:
    """One fault at a time is not what a bad night is like."""
    steps = [step for seed in range(50) for step in schedule(seed, tuple(KINDS), steps=6)]
    pairs = [step for step in steps if len(step.kinds) == 2]
    assert 0.1 < len(pairs) / len(steps) < 0.3
    assert all(len({kind.partition(".")[0] for kind in step.kinds}) == 2 for step in pairs)


@pytest.mark.parametrize("text,seeds", [("17", [17]), ("1-3", [1, 2, 3]), ("1-2,9,20-21", [1, 2, 9, 20, 21])])
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    """As on the command line."""
    assert seeds_of(text) == seeds
