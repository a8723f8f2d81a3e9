"""Claims whose answer does not come, or does not count: what they lease, and what they charge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import ClaimRequest, Claims
from queueing.config.accept_level import ReplicaWait
from queueing.config.redis import RedisConfig
from queueing.errors import QueueUnavailable, QueueUnconfirmed
from queueing.protocol import keyspace
from queueing.protocol.limits import ClaimLimits
from queueing.redis import connection
from queueing.redis.connection import connect
from queueing.redis.scripts import load
from tests.support.farm.queued import LEASE_MS, TENANT, put, submission, take
from tests.support.redis.process import RedisProcess

BATCH = 2


@pytest.fixture
async def redis(own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArqRedis]:
    """A pool that waits half a second for an answer, with nine jobs in the queue."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 0.5)
    pool = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    await load(pool)
    await put(pool, *(submission(i) for i in range(9)))
    yield pool
    await pool.aclose()


async def leased(redis: ArqRedis) -> int:
    return len(await redis.keys(keyspace.IN_PROGRESS_PREFIX + "*"))


async def test_a_claim_whose_answer_is_lost_leases_one_batch(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """No worker knows the fence of what it leased, and each such lease counts as a crash of its job."""
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS)
    own_redis.pause()
    with pytest.raises(QueueUnavailable) as lost:
        await take(claims, jobs=BATCH)
    own_redis.go_on()
    assert await leased(redis) == BATCH
    assert lost.value.perhaps_done
    assert len((await take(claims, jobs=BATCH)).jobs) == BATCH
    assert await leased(redis) == 2 * BATCH


async def test_no_other_claim_is_sent_while_redis_stands_still(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """The second claim fails without being sent: Redis would run both when it answers again."""
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS)
    own_redis.pause()
    for perhaps_done in (True, False):
        with pytest.raises(QueueUnavailable) as lost:
            await take(claims, jobs=BATCH)
        assert lost.value.perhaps_done == perhaps_done
    own_redis.go_on()
    assert await leased(redis) == BATCH
    assert len((await take(claims, jobs=BATCH)).jobs) == BATCH


async def test_a_claim_is_made_where_redis_has_lost_the_scripts(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """Nothing was run by the first round trip, so the second one is no repetition."""
    own_redis.command("SCRIPT", "FLUSH")
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS)
    assert len((await take(claims, jobs=BATCH)).jobs) == BATCH


async def test_a_claim_of_a_demoted_primary_is_unconfirmed_and_leases_nothing(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """READONLY is ``QueueUnconfirmed``, as a claim that no replica has."""
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS, wait=ReplicaWait(replicas=1, timeout_s=0.01))
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(QueueUnconfirmed):
        await take(claims)
    assert await leased(redis) == 0


async def test_an_unconfirmed_claim_leases_nothing_and_says_that_what_was_owed_is_charged(
    redis: ArqRedis,
) -> None:
    """Without a replica a claim leases no job, and its owed digests are charged."""
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS, wait=ReplicaWait(replicas=1, timeout_s=0.01))
    request = ClaimRequest(
        tenant=TENANT,
        most_jobs=BATCH,
        most_digests=100,
        limits=ClaimLimits(budget_digests=10_000),
        owed_digests=700,
    )
    (answer,) = await claims.claim([request])
    assert isinstance(answer, QueueUnconfirmed)
    assert await leased(redis) == 0
    spent = await cast("Any", redis).hget(keyspace.limiter(TENANT), "spent")
    assert spent == b"700"
