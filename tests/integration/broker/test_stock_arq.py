"""Stock arq against our queue: its jobs are claimed, its Job reads our results."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus, ResultNotFound

from queueing.broker.job_values import JobState
from queueing.client.identity.credentials import StaticIdentity
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.errors import DigestLength, KeyUnknown
from queueing.protocol import keyspace
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.jobs import deserialize
from queueing.unix_time import unix_ms
from tests.support.farm.farm import Farm, digests
from tests.support.farm.responder import AUDIENCE
from tests.support.redis.process import RedisProcess
from tests.support.waiting import PATIENCE_S

QUEUE = keyspace.queue("acme")


def sealed(farm: Farm, key: str = "release", *, digest: bytes | None = None) -> bytes:
    identity = StaticIdentity("ci", farm.key)
    sealer = EnvelopeBuilder(
        audience=AUDIENCE,
        tenant="acme",
        identity=identity,
        ttl_ms=60_000,
        reply_id="",
        now_ms=unix_ms,
    )
    target = Target(key, 0, Algorithm.ECDSA_SHA_256)
    return sealer.seal_with(identity.held, SigningRequest.of(target, [digest or digests(1)[0]], None)).sealed


async def test_a_stock_job_is_signed_and_read_by_stock_calls(farm: Farm) -> None:
    """enqueue_job, status() and result() of arq itself, with our serialiser."""
    await farm.responder.pause()
    job = await farm.redis.enqueue_job("sign", sealed(farm), _queue_name=QUEUE)
    assert job is not None
    assert await job.status() is JobStatus.queued
    farm.responder.resume()
    outcome = await job.result(timeout=PATIENCE_S, poll_delay=0.01)
    assert outcome["key"] == "release"
    assert isinstance(outcome["signatures"][0], bytes)
    assert await job.status() is JobStatus.complete
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.function, info.queue_name) == (True, "sign", QUEUE)


async def test_a_refused_stock_job_raises_its_typed_error(farm: Farm) -> None:
    """Job.result() raises the SigningError of our code."""
    job = await farm.redis.enqueue_job("sign", sealed(farm, "nosuchkey"), _queue_name=QUEUE)
    assert job is not None
    with pytest.raises(KeyUnknown):
        await job.result(timeout=PATIENCE_S, poll_delay=0.01)


async def test_one_bad_digest_is_an_error_in_the_outcome(farm: Farm) -> None:
    """A digest that is refused has no signature and a coded error."""
    job = await farm.redis.enqueue_job("sign", sealed(farm, digest=b"short"), _queue_name=QUEUE)
    assert job is not None
    outcome = await job.result(timeout=PATIENCE_S, poll_delay=0.01)
    assert outcome["signatures"] == [None]
    assert outcome["errors"][0]["code"] == DigestLength.reason


async def test_a_result_of_our_client_is_read_by_a_stock_job(farm: Farm) -> None:
    """arq's Job finds by its id the job that the client submitted."""
    async with farm.client() as client:
        signature = await client.sign("release", digests(1)[0])
    job = Job(signature.job_id, farm.redis, QUEUE, _deserializer=deserialize)
    assert (await job.result(timeout=PATIENCE_S))["signatures"] == [signature.signature]


async def test_our_job_is_what_arq_would_have_written(farm: Farm) -> None:
    """A queued job of ours is read by arq's Job.info()."""
    await farm.responder.pause()
    async with farm.client() as client:
        job = await client.submit("release", digests(1))
        info = await Job(job.job_ids[0], farm.redis, QUEUE, _deserializer=deserialize).info()
    assert info is not None
    assert info.function == "sign"
    assert len(info.args[0]) > 100


async def test_a_pickle_in_the_queue_is_just_bytes(farm: Farm, redis_server: RedisProcess) -> None:
    """A pool with arq's default (pickle) serialiser enqueues; its payload is refused, never loaded."""
    pickling = ArqRedis(unix_socket_path=str(redis_server.socket_path))
    job = await pickling.enqueue_job("sign", sealed(farm), _job_id="{acme}pickle", _queue_name=QUEUE)
    assert job is not None
    async with farm.client() as client:
        farm.responder.answered.clear()
        await farm.responder.answered.wait()
        assert (await client.status(job.job_id)).state is JobState.FAILED
    await pickling.aclose()


async def test_a_pickle_under_arqs_own_id_is_put_out_of_the_queue(
    farm: Farm, redis_server: RedisProcess
) -> None:
    """Nothing says whose job it is: it stays unanswered, and result() says at once that it is not queued."""
    pickling = ArqRedis(unix_socket_path=str(redis_server.socket_path))
    job = await pickling.enqueue_job("sign", sealed(farm), _queue_name=QUEUE)
    assert job is not None
    with pytest.raises(ResultNotFound):
        await job.result(timeout=PATIENCE_S, poll_delay=0.01)
    assert await pickling.exists(keyspace.job(job.job_id))
    await pickling.aclose()
