"""The attacker is a tenant: it holds its client key and its Redis user, and sends what it likes.

What it may not ask for at all is in ``test_bad_input``; what its Redis user may not touch in
``tests/integration/tenancy/test_acl.py``. Here: what it can do with both, and what that does to a neighbour.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from queueing import Signature
from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.jobs import JobOutcome, job_id_of
from queueing.redis.connection import connect
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, outcome_of, payload
from tests.support.rig.operator import make_user
from tests.support.rig.rig import MakeRig, WorkerProcess
from tests.support.waiting import until_async

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}


async def test_jobs_written_round_the_submit_script_harm_no_neighbour(make_rig: MakeRig) -> None:
    """Thousands at once, straight into its own queue, half of them rubbish: globex signs among them, nearly as ever."""
    rig = make_rig(tenants=TWO)
    worker = rig.start_worker()
    own = connect(make_user(rig, "--tenant", "acme"))
    forger = Forger(key=rig.keys["acme"])
    async with rig.client("globex") as neighbour:
        assert isinstance(await neighbour.sign("release", os.urandom(32), timeout_s=60), Signature)
        good = payload(forger.seal(digests=tuple(digests(64))))
        for start in range(0, 4000, 500):
            async with own.pipeline(transaction=False) as pipe:
                for i in range(start, start + 500):
                    job = "{acme}" + f"{i:032x}"
                    pipe.set(keyspace.job(job), good if i % 2 else b"\xc1", px=60_000)
                    pipe.zadd(keyspace.queue("acme"), {job: i})
                await pipe.execute()
        await own.publish(keyspace.doorbell("acme"), "acme")
        for _ in range(15):
            assert isinstance(await neighbour.sign("release", os.urandom(32), timeout_s=60), Signature)
        assert await own.zcard(keyspace.queue("acme")) > 2000, "the neighbour waited for the flood"
    await own.aclose()
    assert worker.alive


async def test_its_own_counters_are_not_its_own_to_believe(make_rig: MakeRig) -> None:
    """The keys that a tenant may write (backlog, claims, arq's leases) stop only its own jobs."""
    rig = make_rig(tenants=TWO)
    worker = rig.start_worker()
    own = connect(make_user(rig, "--tenant", "acme"))
    for key in (keyspace.queue, keyspace.claims, keyspace.backlog, keyspace.armed):
        await own.delete(key("acme"))
        await own.set(key("acme"), "9" * 300)
    async with rig.client("globex") as neighbour:
        assert isinstance(await neighbour.sign("release", os.urandom(32), timeout_s=60), Signature)
    for key in (keyspace.queue, keyspace.claims, keyspace.backlog, keyspace.armed):
        await own.delete(key("acme"))
    async with rig.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
    await own.aclose()
    assert worker.alive


def was_put_out(worker: WorkerProcess, tenant: str) -> Callable[[], bool]:
    """Whether a member of the tenant's queue was removed that is no job of it."""
    return lambda: worker.metric("sigmill_redis_keys_replaced_total", tenant=tenant) == 1


async def test_a_client_key_speaks_for_its_own_tenant_only(make_rig: MakeRig) -> None:
    """By whichever name, on whichever queue it puts itself: the other tenant's key is not used, nor its jobs touched."""
    rig = make_rig(tenants=TWO)
    worker = rig.start_worker()
    redis = rig.connect()
    rows = [
        (Forger(key=rig.keys["acme"], tenant="globex"), "globex", "envelope.signature"),
        (Forger(key=rig.keys["acme"]), "globex", ""),
        (Forger(key=rig.keys["acme"], tenant="globex"), "acme", ""),
    ]
    for forger, queue, code in rows:
        envelope = forger.envelope()
        sealed = forger.seal(idempotency_key=envelope.idempotency_key)
        job = job_id_of(envelope.tenant, envelope.idempotency_key).encode()
        await redis.set(b"arq:job:" + job, payload(sealed), px=60_000)
        await redis.zadd(keyspace.queue(queue), {job: 1})
        if code:
            outcome = await outcome_of(redis, job)
            assert isinstance(outcome, SigningError)
            assert outcome.reason == code
            continue
        await until_async(was_put_out(worker, queue), f"{queue}'s queue has it no more")
        assert await redis.zscore(keyspace.queue(queue), job) is None
        assert await redis.exists(b"arq:job:" + job)
        assert not await redis.exists(b"arq:result:" + job)
    await until_async(lambda: worker.metric("sigmill_failures_total") >= 1, "it is counted")
    good = Forger(key=rig.keys["acme"])
    envelope = good.envelope()
    job = job_id_of("acme", envelope.idempotency_key).encode()
    await redis.set(
        b"arq:job:" + job, payload(good.seal(idempotency_key=envelope.idempotency_key)), px=60_000
    )
    await redis.zadd(keyspace.queue("acme"), {job: 1})
    assert isinstance(await outcome_of(redis, job), JobOutcome)
    await redis.aclose()
