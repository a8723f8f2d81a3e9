"""One worker and its lanes survive each error and each silence of Redis, and each job ends once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.hsm.tokens import TokenShelf
from tests.support.redis.process import RedisFailed, RedisProcess
from tests.support.rig.rig import Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.rig.under_load import under_load
from tests.support.waiting import until_async

LASTS_S = 1.5
"""How long most faults last: longer than the shortest pauses, shorter than a reader's patience."""

SETTINGS = {"busy-reply-threshold": "50", "enable-debug-command": "local"}


@dataclass(frozen=True, slots=True)
class FaultRig:
    redis: RedisProcess
    rig: Rig
    worker: WorkerProcess


@pytest.fixture(scope="module")
def fault_rig(shelf: TokenShelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRig]:
    """One worker for all cases of this file: none of them may end it, or one of its lanes."""
    folder = tmp_path_factory.mktemp("redis-faults")
    with RedisProcess(folder / "redis", password="pw", appendonly=True, settings=SETTINGS) as redis:
        rig = Rig(
            directory=folder / "rig",
            redis=redis,
            shelf=shelf,
            worker={"slow_poll_s": 1.0},
            wrap=behind_simhsm(folder / "rig", sign_us=500),
        )
        with rig:
            yield FaultRig(redis, rig, rig.start_worker())


async def restart(redis: RedisProcess) -> None:
    """An orderly one, with the data."""
    await asyncio.to_thread(redis.stop)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(redis.start)


async def crash(redis: RedisProcess) -> None:
    """SIGKILL; the append-only file has what was written."""
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(redis.start)


def has_answered(redis: RedisProcess, error: str) -> bool:
    """Whether a client was answered with this error; not while Redis itself cannot be asked."""
    with contextlib.suppress(OSError, RedisFailed):
        return f"errorstat_{error}" in redis.info("errorstats")
    return False


async def answered(redis: RedisProcess, error: str) -> None:
    """Wait for ``LASTS_S``, and longer where no client was answered with this error yet."""
    await asyncio.sleep(LASTS_S)
    await until_async(lambda: has_answered(redis, error), f"{error} is answered")


async def freeze(redis: RedisProcess, lasts_s: float = LASTS_S) -> None:
    """SIGSTOP: connections stay open and nothing answers."""
    redis.pause()
    await asyncio.sleep(lasts_s)
    redis.resume()


async def freeze_long(redis: RedisProcess) -> None:
    """Longer than every time-out and every lease."""
    await freeze(redis, 30.0)


async def cut_connections(redis: RedisProcess) -> None:
    """All of them, every 100 ms."""
    until_s = time.monotonic() + LASTS_S
    while time.monotonic() < until_s:
        for kind in ("normal", "pubsub"):
            redis.command("CLIENT", "KILL", "TYPE", kind)
        await asyncio.sleep(0.1)


async def demote(redis: RedisProcess) -> None:
    """A replica without a primary: READONLY."""
    redis.command("REPLICAOF", "127.0.0.1", "1")
    await answered(redis, "READONLY")
    redis.command("REPLICAOF", "NO", "ONE")


async def fill_memory(redis: RedisProcess) -> None:
    """OOM, whatever is written."""
    redis.command("CONFIG", "SET", "maxmemory", "1")
    await answered(redis, "OOM")
    redis.command("CONFIG", "SET", "maxmemory", "0")


async def load_slowly(redis: RedisProcess) -> None:
    """A restart with an append-only file that takes seconds to read, until a client was answered LOADING."""
    filler = "for i = 1, 20000 do redis.call('SET', 'sigmill:filler:' .. i, '') end"
    redis.command("EVAL", filler, "0")
    await asyncio.to_thread(redis.kill)
    redis.configure(key_load_delay="150")  # us; with the kernel's own share of a short sleep
    starting = asyncio.create_task(asyncio.to_thread(redis.start))
    await answered(redis, "LOADING")
    redis.command("CONFIG", "SET", "key-load-delay", "0")
    await starting
    redis.configure(key_load_delay="0")


async def run_long_script(redis: RedisProcess) -> None:
    """BUSY, until the script is killed; once more where no client was answered so. INFO is answered after the script only."""

    def spin() -> None:
        with contextlib.suppress(RedisFailed):
            redis.command("EVAL", "while true do end", "0")

    def killed() -> bool:
        with contextlib.suppress(RedisFailed):  # NOTBUSY: it has not begun
            return redis.command("SCRIPT", "KILL") == b"+OK"
        return False

    while not has_answered(redis, "BUSY"):
        spinning = asyncio.create_task(asyncio.to_thread(spin))
        await asyncio.sleep(LASTS_S)
        await until_async(killed, "the script is killed")
        await spinning


async def flush_scripts(redis: RedisProcess) -> None:
    """NOSCRIPT, again and again for ``LASTS_S``, and longer where no client was answered so yet."""
    least_s = time.monotonic() + LASTS_S

    def over() -> bool:
        redis.command("SCRIPT", "FLUSH")
        return time.monotonic() > least_s and has_answered(redis, "NOSCRIPT")

    await until_async(over, "NOSCRIPT is answered")


async def fail_to_save(redis: RedisProcess) -> None:
    """MISCONF: snapshots are wanted and cannot be written, for a folder has the snapshot's name."""
    snapshot = redis.directory / "dump.rdb"
    snapshot.mkdir()
    redis.command("CONFIG", "SET", "save", "3600 1000000")
    redis.command("BGSAVE")
    await answered(redis, "MISCONF")
    redis.command("CONFIG", "SET", "save", "")
    snapshot.rmdir()


Break = Callable[[RedisProcess], Awaitable[None]]
ANSWERED: dict[Break, str] = {
    demote: "READONLY",
    fill_memory: "OOM",
    load_slowly: "LOADING",
    run_long_script: "BUSY",
    flush_scripts: "NOSCRIPT",
    fail_to_save: "MISCONF",
}
"""Error that Redis must have answered, so that the case is one."""

QUICK: list[Break] = [restart, crash, freeze, cut_connections, *ANSWERED]


async def survive(fault_rig: FaultRig, fault: Break) -> None:
    redis = fault_rig.redis
    wanted = f"errorstat_{ANSWERED.get(fault)}"
    redis.command("CONFIG", "RESETSTAT")
    async with under_load(fault_rig.rig, fault_rig.worker) as load:
        await fault(redis)
        await until_async(redis.answers, "Redis answers")
        await load.resumes()
    assert fault not in ANSWERED or wanted in redis.info("errorstats")
    await until_async(lambda: fault_rig.worker.ready, "the worker is ready")
    print(  # noqa: T201 - a figure, shown with -s
        f"{fault.__name__}: resumed {load.resumed_s:.2f} s after Redis answered, {len(load.given)} digests"
    )


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.__name__)
async def test_the_worker_lives_through(fault_rig: FaultRig, fault: Break) -> None:
    """The same processes sign again within 2 s; nothing is lost, and no job ends twice."""
    await survive(fault_rig, fault)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_worker_lives_through_half_a_minute_of_silence(fault_rig: FaultRig) -> None:
    """All time-outs strike, all leases run out, all pauses have grown."""
    await survive(fault_rig, freeze_long)
