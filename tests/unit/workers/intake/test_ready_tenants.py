"""Tenants that may have jobs: what makes them ready, and what wakes the claim loop."""

from __future__ import annotations

import itertools
import random

import pytest

from queueing.errors import KeyUnknown
from tests.support.fakes.active_jobs import job_in_work
from tests.support.fakes.configurations import current_config, tenant
from workers.intake.ready_tenants import ReadyTenants


@pytest.fixture
def ready() -> ReadyTenants:
    return ReadyTenants(current_config([tenant("acme"), tenant("globex")]))


async def woken(ready: ReadyTenants) -> bool:
    return await ready.changed_within(0.0)


async def test_a_doorbell_makes_its_tenant_ready_and_wakes_the_loop(ready: ReadyTenants) -> None:
    """The loop is woken until the next round begins."""
    ready.ring("acme")
    assert (list(ready), await woken(ready)) == (["acme"], True)
    ready.begin_round()
    assert not await woken(ready)


async def test_a_doorbell_of_an_unknown_tenant_is_ignored(ready: ReadyTenants) -> None:
    """Every client of this Redis can ring one."""
    ready.ring("initech")
    assert (list(ready), await woken(ready)) == ([], False)


async def test_after_a_reconnection_every_tenant_is_ready(ready: ReadyTenants) -> None:
    """Doorbells may have been missed."""
    ready.ring_all()
    assert list(ready) == ["acme", "globex"]


async def test_a_reload_makes_the_changed_tenants_ready(ready: ReadyTenants) -> None:
    """Their jobs may have waited for the old limits."""
    ready.configuration_changed(["globex"])
    assert (list(ready), await woken(ready)) == (["globex"], True)


async def test_freed_capacity_wakes_the_loop_only_when_a_tenant_waits(ready: ReadyTenants) -> None:
    """Otherwise each chunk of the last jobs would cost a round."""
    ready.capacity_freed()
    assert not await woken(ready)
    ready.add(["acme"])
    ready.capacity_freed()
    assert await woken(ready)


async def test_the_last_job_of_a_tenant_with_a_suspect_wakes_the_loop(ready: ReadyTenants) -> None:
    """Then the suspect can be claimed alone; other settled jobs wake nothing."""
    ready.add(["acme"])
    jobs = [job_in_work(), job_in_work()]
    for job in jobs:
        ready.isolation.began("acme")
        job.fail(KeyUnknown())
    ready.job_settled(jobs[0])
    assert not await woken(ready)
    ready.isolation.wait("acme")
    assert list(ready.claimable()) == []
    ready.job_settled(jobs[1])
    assert (list(ready.claimable()), await woken(ready)) == (["acme"], True)


class Least(random.Random):
    """The least number each time."""

    def random(self) -> float:
        return 0.0


async def test_a_poll_is_made_when_it_is_due() -> None:
    """It makes its tenants ready, and tells when the next one is due."""
    ready = ReadyTenants(current_config([tenant("acme"), tenant("globex")]), randomness=Least())
    assert ready.poll(100.0, 1.0) == 101.0
    assert list(ready) == ["acme", "globex"]
    ready.remove("acme")
    assert (ready.poll(100.5, 1.0), list(ready)) == (101.0, ["globex"])
    assert (ready.poll(101.0, 1.0), sorted(ready)) == (102.0, ["acme", "globex"])


def polls(seed: int, *, first_s: float, until_s: float) -> list[float]:
    """Times of the polls of one worker, a second apart at most."""
    ready = ReadyTenants(current_config([tenant("acme")]), randomness=random.Random(seed))
    times = [first_s]
    while times[-1] < until_s:
        times.append(ready.poll(times[-1], 1.0))
    return times


def test_workers_that_began_to_poll_in_step_find_jobs_by_turns() -> None:
    """A job that returned with a delay is found by the poll that is the next: neither worker has nearly all of them."""
    ours, others = polls(1, first_s=0.0, until_s=1000.0), polls(2, first_s=0.01, until_s=1000.0)
    assert all(0.7 - 1e-9 <= after - before <= 1.0 + 1e-9 for before, after in itertools.pairwise(ours))
    due = [10.0 + 9.9 * each for each in range(100)]
    first = sum(min(t for t in ours if t >= at) < min(t for t in others if t >= at) for at in due)
    assert 30 < first < 70
