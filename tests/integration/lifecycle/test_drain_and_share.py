"""SIGTERM returns what is not in the HSM, and two workers share a queue without doing anything twice."""

from __future__ import annotations

import time
from collections import Counter

from bench.hsm.simhsm import read_log
from queueing import Signature
from queueing.protocol import keyspace
from queueing.unix_time import unix_ms
from tests.support.farm.farm import digests
from tests.support.rig.processes import has_ended
from tests.support.rig.rig import MakeRig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until, until_async


async def test_sigterm_drains_and_a_second_worker_takes_over(make_rig: MakeRig) -> None:
    """Exit code 0 well within the deadline; what was returned is due at once, and everything is signed."""
    rig = make_rig(
        token={"acme": "lanes = 1"},
        worker={"drain_s": 30.0, "lease_s": 60.0},
    )
    rig.wrap = behind_simhsm(rig.directory, sign_us=4_000)
    first = rig.start_worker(1)
    given = digests(900)
    async with rig.client() as client:
        job = await client.submit("release", given, request_id="drain")
        await until_async(lambda: first.metric("sigmill_signatures_total") > 0, "some are signed")
        first.child.terminate()
        began = time.monotonic()
        await until_async(lambda: not first.alive, "the worker ends")
        assert first.child.exit_code == 0, first.child.log_tail(30)
        assert time.monotonic() - began < 30.0
        redis = rig.connect()
        waiting = await redis.zrange(keyspace.queue("acme"), 0, -1, withscores=True)
        assert len(waiting) > 5, "it drained by finishing everything"
        assert all(due <= unix_ms() for _, due in waiting), "some are due later"
        assert not [key async for key in redis.scan_iter("arq:in-progress:*")]
        await redis.aclose()
        rig.start_worker(2)
        outcomes = await client.wait(job, timeout_s=60)
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    assert len(outcomes) == len(given)


async def test_two_workers_share_a_queue(make_rig: MakeRig) -> None:
    """Both sign, every digest exactly once as the HSM itself counts."""
    rig = make_rig(token={"acme": "lanes = 1"})
    rig.wrap = behind_simhsm(rig.directory, sign_us=2_000)
    workers = [rig.start_worker(1), rig.start_worker(2)]
    given = digests(2000)
    async with rig.client() as client:
        outcomes = [o async for o in client.sign_many("release", given, timeout_s=40)]
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    signed = Counter(record.input_tail for record in read_log(rig.directory / "acme.simhsm.log"))
    assert set(signed.values()) == {1}
    assert len(signed) == len(given)
    for worker in workers:
        assert worker.metric("sigmill_signatures_total", tenant="acme") > 100
        assert worker.metric("sigmill_commits_fenced_total") == 0


async def test_the_jobs_of_a_killed_worker_are_done_by_another(make_rig: MakeRig) -> None:
    """The lanes of a worker that got SIGKILL end with it; when its leases have run out, another worker signs the rest."""
    rig = make_rig(worker={"lease_s": 2.0}, token={"acme": "lanes = 1"})
    rig.wrap = behind_simhsm(rig.directory, sign_us=3_000)
    first = rig.start_worker(1)
    given = digests(1000)
    async with rig.client() as client:
        job = await client.submit("release", given)
        await until_async(lambda: first.metric("sigmill_signatures_total") > 0, "some are signed")
        lanes = first.lanes()["acme"]
        first.child.kill()
        rig.start_worker(2)
        outcomes = await client.wait(job, timeout_s=40)
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    until(lambda: all(has_ended(pid) for pid in lanes), "the lanes died with their worker")
