"""Registry of workers in Redis: their entries, how long an entry counts, and how large it can be."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis

from queueing.coordination import worker_registry
from queueing.coordination.worker_registry import (
    KEEP_MS,
    SILENT_AFTER_S,
    deregister,
    register,
    registered_workers,
)
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.unix_time import unix_ms
from tests.support.fakes.worker_reports import worker_info
from workers.composition.foundation import owner_id


async def _seen_at(redis: ArqRedis, owner: str, ago_ms: float) -> None:
    await redis.zadd(keyspace.WORKERS_SEEN, {owner: unix_ms() - ago_ms})


async def test_a_worker_is_alive_until_it_says_goodbye(redis: ArqRedis) -> None:
    """The last report counts; hosts are listed in order."""
    await register(redis, worker_info("h2.1.bb"))
    await register(redis, worker_info(jobs_in_flight=1))
    await register(redis, worker_info(jobs_in_flight=5, drained=("acme",)))
    first, second = await registered_workers(redis)
    assert (first.info, second.info.host) == (worker_info(jobs_in_flight=5, drained=("acme",)), "h2")
    assert first.alive
    assert first.silent_s < SILENT_AFTER_S
    await deregister(redis, "h1.7.aa")
    assert [each.info.owner for each in await registered_workers(redis)] == ["h2.1.bb"]


async def test_workers_with_one_host_name_and_process_id_are_all_listed(redis: ArqRedis) -> None:
    """Containers: each worker has its own id, so neither entry replaces the other, and one goodbye removes one."""
    first, second = owner_id("worker", 1), owner_id("worker", 1)
    await register(redis, worker_info(first, pid=1))
    await register(redis, worker_info(second, pid=1))
    assert {each.info.owner for each in await registered_workers(redis)} == {first, second}
    await deregister(redis, first)
    assert [each.info.owner for each in await registered_workers(redis)] == [second]


async def test_a_silent_worker_is_shown_as_such_and_then_forgotten(redis: ArqRedis) -> None:
    """After a minute without a report it is not alive; the next report of any worker removes entries that are
    too old.
    """
    await register(redis, worker_info("dead.1.aa"))
    await _seen_at(redis, "dead.1.aa", 60_000)
    (dead,) = await registered_workers(redis)
    assert not dead.alive
    assert 59 < dead.silent_s < 120
    await _seen_at(redis, "dead.1.aa", KEEP_MS + 1000)
    await register(redis, worker_info("live.1.bb"))
    assert [each.info.host for each in await registered_workers(redis)] == ["live"]
    assert await redis.hlen(keyspace.WORKERS_FACTS) == 1  # type: ignore[misc]  # typed for both clients
    for key in (keyspace.WORKERS_SEEN, keyspace.WORKERS_FACTS):
        assert 0 < await redis.pttl(key) <= 2 * KEEP_MS, "without workers the keys expire"


async def test_their_number_is_bounded(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more workers than the bound, those that reported last stay."""
    monkeypatch.setattr(worker_registry, "MOST_WORKERS", 3)
    for i in range(5):
        await register(redis, worker_info(f"h{i}.1.aa"))
        await _seen_at(redis, f"h{i}.1.aa", 100 - i)
    await register(redis, worker_info("h9.1.aa"))
    assert [each.info.host for each in await registered_workers(redis)] == ["h3", "h4", "h9"]


async def test_an_unreadable_entry_is_left_out(redis: ArqRedis) -> None:
    """The facts of another version, bytes that are no facts, no facts, and a name that is too long for a
    table.
    """
    await register(redis, worker_info())
    await register(redis, worker_info("x" * 300))
    for owner, facts in (("old.1.aa", b"\x81\xa1x\x01"), ("rubbish.1.aa", b"\xff")):
        await redis.zadd(keyspace.WORKERS_SEEN, {owner: unix_ms()})
        await redis.hset(keyspace.WORKERS_FACTS, owner, facts)  # type: ignore[misc, arg-type]  # bytes, too
    await redis.zadd(keyspace.WORKERS_SEEN, {"no-facts.1.aa": unix_ms()})
    assert [each.info.host for each in await registered_workers(redis)] == ["h1"]


async def test_a_foreign_type_is_an_outage_of_nothing_else(redis: ArqRedis) -> None:
    """A worker that registers gets an error, and a reader sees that the list is damaged."""
    await redis.set(keyspace.WORKERS_SEEN, "x")
    with pytest.raises(QueueUnavailable):
        await register(redis, worker_info())
    assert (await registered_workers(redis)).damaged == 1
