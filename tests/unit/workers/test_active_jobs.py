"""Register of active jobs: whose leases are extended, and when it is empty."""

from __future__ import annotations

import asyncio

from tests.support.fakes.active_jobs import job_in_work
from tests.support.waiting import turn
from workers.active_jobs import ActiveJobs


async def test_the_register_has_the_leases_and_the_tenants_of_its_jobs() -> None:
    """Until each job is settled."""
    jobs = ActiveJobs()
    acme, globex = job_in_work(job_id=b"a"), job_in_work(job_id=b"g", tenant="globex")
    jobs.add(acme)
    jobs.add(globex)
    assert {job.job_id for job in jobs.claimed()} == {b"a", b"g"}
    assert jobs.tenants() == {"acme", "globex"}
    jobs.remove(acme)
    assert (len(jobs), jobs.tenants()) == (1, {"globex"})


async def test_the_register_tells_when_it_is_empty() -> None:
    """At once when it is, with the last job, or not in time."""
    jobs = ActiveJobs()
    assert await jobs.until_empty(0.0)
    job = job_in_work()
    jobs.add(job)
    assert not await jobs.until_empty(0.0)
    waiting = asyncio.ensure_future(jobs.until_empty(10.0))
    await turn()
    jobs.remove(job)
    assert await waiting
