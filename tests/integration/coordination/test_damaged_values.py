"""Readers of Redis over damaged values: each value costs itself alone, and is counted."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from arq.connections import ArqRedis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queueing.broker.claims import ClaimRequest, ClaimResult, Claims
from queueing.broker.dead_letters import DeadLetter, letters_of
from queueing.broker.job_state import report_of
from queueing.broker.queue_stats import read_queue_stats
from queueing.config.redis import RedisConfig
from queueing.coordination import refused_pin_feed, stop_order_feed
from queueing.coordination.worker_registry import registered_workers
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobHints, encode_job
from queueing.redis.connection import connect
from queueing.redis.values import MOST_COUNT
from tests.support.redis.process import RedisProcess
from workers.cli.operate.deadletter import _line
from workers.cli.status.workers import worker_line

TENANT = "acme"
FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.sampled_from(
    [b"9" * 400, b"-" + b"9" * 400, b"nan", b"inf", b"1e308", b"", b"\xff", b"5", b"9007199254740993"]
)
ANY = st.binary(max_size=60) | NUMBERS
WORKER = {
    **dict.fromkeys(("owner", "host", "version", "metrics"), "x"),
    **dict.fromkeys(("pid", "since_ms", "epoch", "tenants", "jobs_in_flight", "lanes", "sessions"), 1),
    "ready": True,
    "draining": False,
}
LETTER = msgspec.structs.asdict(
    DeadLetter(
        reason="job.poisoned",
        message="",
        at_ms=1,
        worker="w",
        attempts=1,
        crashes=1,
        payload=encode_job(b"s", JobHints(), 1),
    )
)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        msgspec.msgpack.encode({**WORKER, "since_ms": 2**60}),
        msgspec.msgpack.encode({**WORKER, "pid": -1}),
        msgspec.msgpack.encode(WORKER).replace(b"\xa5owner\xa1x", b"\xa5owner\xa1\xff"),
    ],
    ids=["rubbish", "far future", "negative", "not UTF-8"],
)
async def test_a_damaged_worker_is_counted_and_the_others_are_listed(redis: ArqRedis, raw: bytes) -> None:
    """One line of the list, not the list."""
    good = msgspec.msgpack.encode({**WORKER, "host": "good", "since_ms": MOST_COUNT})
    await redis.hset(keyspace.WORKERS_FACTS, mapping={"bad": raw, "good": good})  # type: ignore[misc]
    await redis.zadd(keyspace.WORKERS_SEEN, {"bad": 1, "good": float("-inf")})
    found = await registered_workers(redis)
    assert ([worker.info.host for worker in found], found.damaged) == (["good"], 1)
    assert worker_line(found[0]).since.year == 9999


@pytest.mark.parametrize("key", [keyspace.WORKERS_SEEN, keyspace.WORKERS_FACTS])
async def test_a_foreign_type_under_the_registry_is_damage(redis: ArqRedis, key: str) -> None:
    """No error of Redis."""
    await redis.set(key, "x")
    assert (await registered_workers(redis)).damaged == 1


@pytest.mark.parametrize(
    "change", [{"at_ms": 2**60}, {"crashes": -1}, {"payload": b""}, {"digests": 2**63}], ids=str
)
async def test_a_damaged_letter_is_counted_and_the_others_are_listed(
    redis: ArqRedis, change: dict[str, Any]
) -> None:
    """A damaged dead letter is counted, and the other one is listed with its time."""
    bad, good = (
        msgspec.msgpack.encode({**LETTER, **each}) for each in (change, {"expires_at_ms": MOST_COUNT})
    )
    await redis.hset(keyspace.dead_letters(TENANT), mapping={"bad": bad, "good": good})  # type: ignore[misc]
    found = await letters_of(redis, [TENANT])
    assert ([letter.job_id for letter in found], found.damaged) == ([b"good"], 1)
    assert _line(found[0]).expires_at.year == 9999


@FUZZ
@given(
    raw=ANY
    | st.dictionaries(
        st.sampled_from(sorted(WORKER)), st.integers(-(2**63), 2**63) | st.binary(max_size=4)
    ).map(msgspec.msgpack.encode)
)
async def test_any_worker_is_listed_or_counted(redis: ArqRedis, raw: bytes) -> None:
    """Any bytes are a worker that can be printed, or are counted as damaged."""
    await redis.hset(keyspace.WORKERS_FACTS, "w", raw)  # type: ignore[misc, arg-type]
    await redis.zadd(keyspace.WORKERS_SEEN, {"w": 1})
    found = await registered_workers(redis)
    assert len(found) + found.damaged == 1
    assert all(msgspec.json.encode(worker_line(worker)) for worker in found)


@FUZZ
@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(LETTER)), st.integers(-(2**63), 2**63) | st.binary(max_size=4)
    )
)
async def test_any_letter_is_listed_or_counted(redis: ArqRedis, changes: dict[str, Any]) -> None:
    """Any fields are a dead letter that can be printed, or are counted as damaged."""
    raw = msgspec.msgpack.encode({**LETTER, **changes})
    await redis.hset(keyspace.dead_letters(TENANT), b"\xff", raw)  # type: ignore[misc, arg-type]
    found = await letters_of(redis, [TENANT])
    assert len(found) + found.damaged == 1
    assert all(msgspec.json.encode(_line(letter)) for letter in found)


@FUZZ
@given(
    values=st.lists(ANY, min_size=3, max_size=3), claimed=ANY | st.lists(NUMBERS, max_size=6).map(b":".join)
)
async def test_any_counters_are_shown_and_claimed_by(
    redis: ArqRedis, values: list[bytes], claimed: bytes
) -> None:
    """Statistics that fit a gauge, a report that fits JSON, a claim that can be read."""
    job_id = "{acme}" + "0" * 32
    fields = ("digests", "bytes", "accepted", "refused", "budget", "day", "spent", "tat", "ended", "since_ms")
    for key in (keyspace.backlog, keyspace.caps, keyspace.limiter):
        mapping = {field: values[i % 3] for i, field in enumerate(fields)}
        await redis.hset(key(TENANT), mapping=mapping)  # type: ignore[misc]
    await redis.set(keyspace.job(job_id), values[0])
    await redis.delete(keyspace.IN_PROGRESS_PREFIX + job_id)
    await redis.zadd(keyspace.queue(TENANT), {job_id: 1})
    await redis.hset(keyspace.claims(TENANT), job_id, claimed)  # type: ignore[misc, arg-type]
    state = (await read_queue_stats(redis, [TENANT]))[TENANT]
    assert float(state.digests) <= MOST_COUNT
    report = await report_of(redis, TENANT, job_id)
    json.dumps([report.attempts, report.crashes, report.digests])
    assert max(report.attempts or 0, report.crashes or 0, report.digests or 0) <= MOST_COUNT
    claims = Claims(redis, owner="one", lease_ms=15_000)
    (answer,) = await claims.claim([ClaimRequest(tenant=TENANT, most_jobs=9, most_digests=9)])
    assert isinstance(answer, ClaimResult)
    assert [job.job_id for job in answer.jobs] == [job_id.encode()]
    assert answer.jobs[0].attempt >= 1
    assert answer.jobs[0].crashes >= 0


@FUZZ
@given(name=st.binary(min_size=1, max_size=30), value=ANY)
async def test_any_feed_is_read(redis: ArqRedis, name: bytes, value: bytes) -> None:
    """Refused PINs, and the workers that apply an order."""
    await redis.delete(keyspace.REFUSED_PINS, keyspace.order_adopted("o"))
    await redis.hset(keyspace.REFUSED_PINS, name, value)  # type: ignore[misc, arg-type]
    await redis.hset(keyspace.order_adopted("o"), name, value)  # type: ignore[misc, arg-type]
    assert len(await refused_pin_feed.sync(redis, {})) == 1
    assert all(
        0 <= at_ms <= MOST_COUNT for at_ms in (await stop_order_feed.acknowledged_by(redis, "o")).values()
    )


async def test_refused_pins_that_may_not_be_read_stay(own_redis: RedisProcess) -> None:
    """A missing right says nothing about the value: only a foreign type is removed."""
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    try:
        await redis.hset(keyspace.REFUSED_PINS, "theirs", b"ab")  # type: ignore[misc, arg-type]
        await redis.execute_command("ACL", "SETUSER", "default", "-hgetall")  # type: ignore[no-untyped-call]
        with pytest.raises(QueueUnavailable):
            await refused_pin_feed.sync(redis, {})
        assert await redis.hkeys(keyspace.REFUSED_PINS) == [b"theirs"]  # type: ignore[misc]
        await redis.execute_command("ACL", "SETUSER", "default", "-hlen")  # type: ignore[no-untyped-call]
        with pytest.raises(QueueUnavailable):
            await stop_order_feed.poll(redis, [b"known"])
    finally:
        await redis.aclose()
