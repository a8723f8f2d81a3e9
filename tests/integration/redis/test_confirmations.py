"""Confirmation by replicas of what changes nothing: repeats, refusals, new connections; the same on each kind of server.

``SIGMILL_TEST_REDIS_SERVER`` names the server. Redis 7.0 waits for all that was written before the connection's last
command, later ones and Valkey for the last write of the connection itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import ClaimRequest, Claims, CommitStatus
from queueing.broker.job_state import look_up
from queueing.broker.submissions import Receipt, SubmitStatus
from queueing.broker.submit import submit
from queueing.config.accept_level import ReplicaWait
from queueing.config.redis import RedisConfig
from queueing.errors import QueueUnconfirmed
from queueing.protocol import keyspace
from queueing.redis.connection import connect
from queueing.redis.scripts import load
from queueing.unix_time import unix_ms
from tests.support.farm.queued import KEEP, LEASE_MS, TENANT, commit_of, publish, put, submission, take
from tests.support.redis.nodes import PASSWORD, RedisNodes
from tests.support.redis.process import RedisProcess

WAIT = ReplicaWait(replicas=1, timeout_s=0.2)
PATIENT = ReplicaWait(replicas=1, timeout_s=60)

Pool = Callable[[], ArqRedis]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNodes]:
    with RedisNodes(tmp_path_factory.mktemp("nodes"), replicas=1) as made:
        yield made


@pytest.fixture
def replica(nodes: RedisNodes) -> Iterator[RedisProcess]:
    """The replica of an empty primary; both are as before after the test."""
    nodes.nodes[0].flush()
    yield nodes.nodes[1]
    nodes.nodes[1].resume()
    nodes.nodes[0].command("CONFIG", "SET", "maxmemory", "0")


@pytest.fixture
async def pool(nodes: RedisNodes, replica: RedisProcess, tmp_path: Path) -> AsyncIterator[Pool]:
    """Makes pools to the primary; the connections of each are its own and have written nothing."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    config = RedisConfig(unix_socket=str(nodes.nodes[0].socket_path), password_file=str(password))
    async with contextlib.AsyncExitStack() as stack:

        def make() -> ArqRedis:
            redis = connect(config)
            stack.push_async_callback(redis.aclose)
            return redis

        await load(make())
        yield make


async def again(redis: ArqRedis, *, salt: bytes = b"", wait: ReplicaWait = WAIT) -> Receipt:
    """Submit job 1 under ``replicated``."""
    (receipt,) = await submit(redis, TENANT, [submission(1, salt=salt)], now_ms=unix_ms(), wait=wait)
    return receipt


async def finish(redis: ArqRedis) -> None:
    """Job 1, from its submit to its result."""
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS)
    await put(redis, submission(1))
    assert await publish(claims, commit_of(await take(claims), submission(1))) == [CommitStatus.COMMITTED]


async def test_a_repeat_is_unconfirmed_while_the_replica_stands_still(
    pool: Pool, replica: RedisProcess
) -> None:
    """A failover may lose the result that it finds; it is confirmed when the replica is resumed."""
    replica.pause()
    await finish(pool())
    receipt = await again(pool())
    assert receipt.accepted is SubmitStatus.DONE
    assert not receipt.confirmed
    replica.resume()
    assert (await again(pool(), wait=PATIENT)).confirmed


async def test_a_repeat_over_a_connection_that_was_confirmed_before_is_unconfirmed(
    pool: Pool, replica: RedisProcess
) -> None:
    """A confirmation counts for the last write of a connection, not for an earlier one."""
    used = pool()
    await used.set("sigmill:written", "before")
    await used.execute_command("WAIT", "1", "10000")  # type: ignore[no-untyped-call]
    replica.pause()
    await finish(pool())
    receipt = await again(used)
    assert receipt.accepted is SubmitStatus.DONE
    assert not receipt.confirmed


async def test_other_content_is_unconfirmed_while_the_replica_stands_still(
    pool: Pool, replica: RedisProcess
) -> None:
    """A failover may lose the job that it conflicts with."""
    replica.pause()
    await finish(pool())
    receipt = await again(pool(), salt=b"x")
    assert receipt.accepted is SubmitStatus.CONFLICT
    assert not receipt.confirmed


async def test_a_commit_that_is_repeated_is_unconfirmed_while_the_replica_stands_still(
    pool: Pool, replica: RedisProcess
) -> None:
    """No client waits for the job, so not even a reply is written; once the replica answers it is
    confirmed.
    """
    await put(pool(), submission(1))
    claimed = await take(Claims(pool(), owner="one", lease_ms=LEASE_MS))
    made = commit_of(claimed, submission(1))
    commits = {TENANT: [type(made)(made.job_id, made.lease, made.result, "")]}
    replica.pause()
    for _ in range(2):
        with pytest.raises(QueueUnconfirmed):
            await Claims(pool(), owner="one", lease_ms=LEASE_MS, wait=WAIT).commit(commits, KEEP)
    replica.resume()
    outcomes = await Claims(pool(), owner="one", lease_ms=LEASE_MS, wait=PATIENT).commit(commits, KEEP)
    assert outcomes == {TENANT: [CommitStatus.REPEATED]}


async def test_scripts_that_redis_lost_are_confirmed_once_they_have_run(
    nodes: RedisNodes, pool: Pool, replica: RedisProcess
) -> None:
    """WAIT confirms the second round trip, since the first one ran no script."""
    replica.pause()
    await finish(pool())
    nodes.nodes[0].command("SCRIPT", "FLUSH")
    assert not (await again(pool())).confirmed
    replica.resume()
    nodes.nodes[0].command("SCRIPT", "FLUSH")
    assert (await again(pool(), wait=PATIENT)).confirmed


async def test_nothing_is_confirmed_where_redis_refuses_writes(
    nodes: RedisNodes, pool: Pool, replica: RedisProcess
) -> None:
    """A repeat needs no memory and is answered, but a confirmation needs a write."""
    await finish(pool())
    nodes.nodes[0].command("CONFIG", "SET", "maxmemory", "1")
    receipt = await again(pool())
    assert receipt.accepted is SubmitStatus.DONE
    assert not receipt.confirmed
    nodes.nodes[0].command("CONFIG", "SET", "maxmemory", "0")
    assert (await again(pool(), wait=PATIENT)).confirmed


async def test_a_wrong_type_under_the_mark_is_written_over(pool: Pool, replica: RedisProcess) -> None:
    """A writer of a tenant's keys can neither prevent a confirmation nor forge one."""
    writer = pool()
    await writer.rpush(keyspace.mark(TENANT), "not", "a", "mark")  # type: ignore[misc]
    assert (await again(pool(), wait=PATIENT)).confirmed
    replica.pause()
    await finish(writer)
    await writer.delete(keyspace.mark(TENANT))
    await writer.rpush(keyspace.mark(TENANT), "not", "a", "mark")  # type: ignore[misc]
    assert not (await again(pool())).confirmed


async def test_the_mark_expires(pool: Pool, replica: RedisProcess) -> None:
    """The mark expires within a minute, and ``local`` writes none."""
    redis = pool()
    await put(redis, submission(1))
    assert not await redis.exists(keyspace.mark(TENANT))
    await again(redis, wait=PATIENT)
    assert 0 < await redis.pttl(keyspace.mark(TENANT)) <= 60_000


async def test_claims_of_many_tenants_are_confirmed_together(
    nodes: RedisNodes, pool: Pool, replica: RedisProcess
) -> None:
    """One mark and one WAIT for the round trip, also where there was nothing to claim."""
    nodes.nodes[0].command("CONFIG", "RESETSTAT")
    claims = Claims(pool(), owner="one", lease_ms=LEASE_MS, wait=PATIENT)
    tenants = ("acme", "globex", "initech")
    requests = [ClaimRequest(tenant=tenant, most_jobs=1, most_digests=1) for tenant in tenants]
    answers = await claims.claim(requests)
    assert not any(isinstance(answer, Exception) for answer in answers)
    marks = [await pool().exists(keyspace.mark(tenant)) for tenant in tenants]
    assert sum(marks) == 1
    assert nodes.nodes[0].info("commandstats")["cmdstat_wait"].startswith("calls=1,")


async def test_that_a_job_is_not_there_is_believed_of_a_primary_only_that_has_its_replicas(
    pool: Pool, replica: RedisProcess
) -> None:
    """A primary that was replaced lacks the jobs of its successor; under ``local`` it is believed all the
    same.
    """
    redis = pool()
    (state,) = await look_up(redis, TENANT, ["{acme}missing"], wait=PATIENT)
    assert state.lost
    replica.pause()
    with pytest.raises(QueueUnconfirmed):
        await look_up(redis, TENANT, ["{acme}missing"], wait=WAIT)
    (state,) = await look_up(redis, TENANT, ["{acme}missing"])
    assert state.lost
