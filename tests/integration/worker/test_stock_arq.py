"""A stock arq producer, with nothing of ours but the serializer: its job is signed, and it reads status and result."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from arq.connections import ArqRedis, create_pool
from arq.connections import RedisSettings as ArqSettings
from arq.jobs import Job, JobStatus

from queueing.errors import KeyUnknown
from queueing.protocol import keyspace
from queueing.protocol.jobs import deserialize, serialize
from tests.support.farm.forging import Forger
from tests.support.rig.shared_rig import SharedRig
from tests.support.waiting import PATIENCE_S
from workers.dev.signature_checks import sha256_check

QUEUE = keyspace.queue("acme")


@pytest.fixture
async def stock(shared_rig: SharedRig) -> AsyncIterator[ArqRedis]:
    """A pool as arq's own documentation makes it."""
    redis = shared_rig.rig.redis
    settings = ArqSettings(host="127.0.0.1", port=redis.port, password=redis.password)
    pool = await create_pool(settings, job_serializer=serialize, job_deserializer=deserialize)
    yield pool
    await pool.aclose()


async def test_a_stock_job_is_signed_and_its_result_read(shared_rig: SharedRig, stock: ArqRedis) -> None:
    """enqueue_job on the tenant's queue, then Job.result(): the outcome as a dictionary."""
    digest = os.urandom(32)
    sealed = Forger(key=shared_rig.rig.keys["acme"]).seal(digests=(digest,))
    job = await stock.enqueue_job("sign", sealed, _queue_name=QUEUE)
    assert job is not None
    outcome = await job.result(timeout=PATIENCE_S, poll_delay=0.02)
    assert await job.status() is JobStatus.complete
    assert (outcome["key"], outcome["key_version"], outcome["algorithm"]) == ("release", 1, "ECDSA_SHA_256")
    public_key = shared_rig.rig.tokens["acme"].keys["acme.release.v1"]
    sha256_check(public_key.spki)(outcome["signatures"][0], digest)
    info = await job.result_info()
    assert info is not None
    assert (info.function, info.success, info.job_try, info.queue_name) == ("sign", True, 1, QUEUE)


async def test_a_refused_stock_job_raises_its_typed_error(shared_rig: SharedRig, stock: ArqRedis) -> None:
    """Job.result() raises what our client would raise."""
    sealed = Forger(key=shared_rig.rig.keys["acme"]).seal(key="nosuch")
    job = await stock.enqueue_job("sign", sealed, _queue_name=QUEUE)
    assert job is not None
    with pytest.raises(KeyUnknown):
        await job.result(timeout=PATIENCE_S, poll_delay=0.02)


async def test_a_deferred_stock_job_waits_for_its_time(shared_rig: SharedRig, stock: ArqRedis) -> None:
    """It is deferred by arq's own status, and starts a second after it was enqueued, as _defer_by says."""
    sealed = Forger(key=shared_rig.rig.keys["acme"]).seal()
    job = await stock.enqueue_job("sign", sealed, _queue_name=QUEUE, _defer_by=1.0)
    assert job is not None
    assert await job.status() is JobStatus.deferred
    assert all((await job.result(timeout=PATIENCE_S, poll_delay=0.02))["signatures"])
    assert await job.status() is JobStatus.complete
    info = await job.result_info()
    assert info is not None
    assert (info.start_time - info.enqueue_time).total_seconds() >= 1.0


async def test_status_goes_from_queued_over_in_progress_to_complete(
    shared_rig: SharedRig, stock: ArqRedis
) -> None:
    """The states of a big job are queued, in progress and complete, in this order."""
    forger = Forger(key=shared_rig.rig.keys["acme"])
    many = tuple(os.urandom(32) for _ in range(1024))
    seen: list[JobStatus] = []
    for _ in range(3):
        job = await stock.enqueue_job("sign", forger.seal(digests=many), _queue_name=QUEUE)
        assert job is not None
        async with asyncio.timeout(PATIENCE_S):
            while (status := await job.status()) is not JobStatus.complete:
                seen.append(status)
        seen.append(status)
        assert len((await job.result(timeout=PATIENCE_S))["signatures"]) == 1024
    assert set(seen) == {JobStatus.queued, JobStatus.in_progress, JobStatus.complete}
    order = [JobStatus.queued, JobStatus.in_progress, JobStatus.complete]
    ranks = [order.index(status) for status in seen]
    starts = [0, *(i + 1 for i, rank in enumerate(ranks) if rank == 2)]
    for start, end in pairwise(starts):
        assert ranks[start:end] == sorted(ranks[start:end])


async def test_the_same_id_is_not_enqueued_twice(shared_rig: SharedRig, stock: ArqRedis) -> None:
    """Stock arq's own rule holds while the result is kept."""
    sealed = Forger(key=shared_rig.rig.keys["acme"]).seal()
    job_id = os.urandom(8).hex()
    job = await stock.enqueue_job("sign", sealed, _job_id=job_id, _queue_name=QUEUE)
    assert job is not None
    await job.result(timeout=PATIENCE_S, poll_delay=0.02)
    assert await stock.enqueue_job("sign", sealed, _job_id=job_id, _queue_name=QUEUE) is None
    assert await Job(job_id, stock, QUEUE, deserialize).status() is JobStatus.complete
