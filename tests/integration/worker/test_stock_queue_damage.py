"""Any value under arq's own keys costs one stock job at most, and never the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss, default_queue_name, job_key_prefix, retry_key_prefix
from arq.jobs import Job
from arq.worker import func
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from queueing.aio.owned_tasks import end_tasks
from queueing.protocol.jobs import deserialize, serialize
from tests.support.fakes.config_files import Site
from tests.support.redis.planting import plant_list
from tests.support.waiting import PATIENCE_S, until_async
from workers.config.loading import load_configuration
from workers.telemetry.metrics import Metrics
from workers.worker import SigningWorker

DUE_MS = 1.0


async def double(ctx: dict[Any, Any], number: int) -> int:
    """Twice the number."""
    return 2 * number


async def gone(redis: ArqRedis, key: str) -> None:
    """Return when the key does not exist."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if not await redis.exists(key):
                return
            await asyncio.sleep(0.01)


class StockWorker:
    """The stock half of a signing worker; its signing service is composed, and never runs."""

    def __init__(self, redis: ArqRedis, folder: Path) -> None:
        self.registry = CollectorRegistry()
        configuration = load_configuration(Site(folder).write().config)
        self.worker = SigningWorker(
            [func(double, name="double")],
            signing=configuration,
            metrics=Metrics(self.registry),
            redis_pool=redis,
            handle_signals=False,
            poll_delay=0.01,
            allow_abort_jobs=True,
        )
        self.redis = redis

    @property
    def damaged(self) -> float:
        """Values that were counted as damaged."""
        name = "sigmill_redis_values_damaged_total"
        return self.registry.get_sample_value(name, {"source": "stock_queue"}) or 0

    async def double(self, number: int) -> int:
        """Result of a good job, enqueued beside the damaged ones."""
        self.redis.job_serializer, self.redis.job_deserializer = serialize, deserialize
        job = await self.redis.enqueue_job("double", number)
        assert isinstance(job, Job)
        answer = await job.result(timeout=PATIENCE_S, poll_delay=0.01)
        assert isinstance(answer, int)
        return answer

    async def settle(self) -> None:
        """Return when the queue is empty."""
        await gone(self.redis, default_queue_name)


@pytest.fixture
async def stock(
    redis: ArqRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StockWorker]:
    """A running one."""
    monkeypatch.setattr("workers.worker.RESTART_PAUSE_S", 0.01)
    made = StockWorker(redis, tmp_path)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.worker._ordinary_jobs())
        yield made
        assert not running.done()
        await end_tasks([running])  # one cancel may be swallowed
    await made.worker._doorbells.aclose()


async def plant_job(redis: ArqRedis, job_id: str, raw: bytes) -> None:
    """Put a job of these bytes into the stock queue."""
    await redis.set(job_key_prefix + job_id, raw)
    await redis.zadd(default_queue_name, {job_id: DUE_MS})


@pytest.mark.parametrize(
    "job_id", [b"\xff", b"\xed\xa0\x80", b"x" * 16384], ids=["byte", "surrogate", "long"]
)
async def test_an_id_that_arq_cannot_read_is_removed_and_counted(stock: StockWorker, job_id: bytes) -> None:
    """The queue is empty afterwards, and a good job is run."""
    await stock.redis.zadd(default_queue_name, {job_id: DUE_MS})
    await stock.settle()
    assert await stock.double(21) == 42
    assert stock.damaged == 1


async def test_a_due_time_of_minus_infinity_is_removed_and_counted(stock: StockWorker) -> None:
    """It is no whole number; a good job is run afterwards."""
    await stock.redis.zadd(default_queue_name, {"x": float("-inf")})
    await stock.settle()
    assert await stock.double(21) == 42
    assert stock.damaged == 1


@pytest.mark.parametrize(
    "change",
    [
        {"et": 2**62},
        {"et": "x"},
        {"et": -(2**62)},
        {"t": "x"},
        {"f": ["double"]},
        {"f": {}},
        {"a": 5},
        {"k": [1]},
    ],
    ids=repr,
)
async def test_a_job_that_arq_cannot_process_fails_alone(stock: StockWorker, change: dict[str, Any]) -> None:
    """It has a failed result and is gone; a good job is run."""
    good: dict[str, Any] = {"t": None, "f": "double", "a": [1], "k": {}, "et": 1}
    await plant_job(stock.redis, "bad", serialize(good | change))
    await stock.settle()
    assert await stock.double(21) == 42
    info = await Job("bad", stock.redis, _deserializer=deserialize).result_info()
    assert info is not None
    assert not info.success


@pytest.mark.parametrize("key", [default_queue_name, abort_jobs_ss])
async def test_a_key_of_a_foreign_type_is_removed_and_counted(stock: StockWorker, key: str) -> None:
    """A string in place of the queue or of the set of aborted jobs is removed and counted."""
    await stock.redis.set(key, "x")
    await until_async(lambda: stock.damaged > 0, "the key is removed")
    assert await stock.double(21) == 42


@pytest.mark.parametrize("prefix", [job_key_prefix, retry_key_prefix])
async def test_a_foreign_type_under_a_key_of_a_job_fails_that_job(stock: StockWorker, prefix: str) -> None:
    """The queue and the foreign value are gone, and a good job is run."""
    job = serialize({"t": None, "f": "double", "a": [1], "k": {}, "et": 1})
    await stock.redis.set(job_key_prefix + "bad", job)
    await plant_list(stock.redis, prefix + "bad")
    await stock.redis.zadd(default_queue_name, {"bad": DUE_MS})
    await stock.settle()
    assert not await stock.redis.exists(prefix + "bad")
    assert await stock.double(21) == 42


async def test_an_aborted_id_that_arq_cannot_read_is_removed(stock: StockWorker) -> None:
    """An id that is not UTF-8 is removed from the set that arq reads at each poll."""
    await stock.redis.zadd(abort_jobs_ss, {b"\xff": 9e15})
    await gone(stock.redis, abort_jobs_ss)
    assert await stock.double(21) == 42


_PARTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3),
    max_leaves=5,
)
_JOBS = st.binary(max_size=40) | st.fixed_dictionaries(
    {}, optional={name: _PARTS | st.just("double") for name in ("t", "f", "a", "k", "et")}
).map(serialize)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=st.dictionaries(st.binary(min_size=1, max_size=12), _JOBS, min_size=1, max_size=5))
async def test_no_value_ends_arqs_loop(stock: StockWorker, planted: dict[bytes, bytes]) -> None:
    """Random ids and random jobs: the queue is empty afterwards, and a good job is run."""
    for job_id, raw in planted.items():
        await stock.redis.set(job_key_prefix.encode() + job_id, raw)
        await stock.redis.zadd(default_queue_name, {job_id: DUE_MS})
    await stock.settle()
    assert await stock.double(21) == 42
