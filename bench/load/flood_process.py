"""A flood process: keeps a tenant's queue full of rubbish, as a client with write access to that queue can.

    python -m bench.load.flood_process --socket redis.sock --password-file password --tenant flood \
        --audience a --algorithm ECDSA_SHA_256

Ordered on stdin as a load process is: ``Flood`` begins, ``Rest`` ends, and the queue is emptied.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bench.load.messages import Done, Flood, Order, Rest
from bench.load.rubbish import Specimen, Victim, specimens
from queueing.config.redis import RedisConfig
from queueing.protocol import keyspace
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from arq.connections import ArqRedis

WAITING_JOBS: Final = 1024
"""Four claims of a worker: it always finds rubbish."""

WAITING_BYTES: Final = 16 * 1024 * 1024
"""Two claims of the largest size."""

LOOK_S: Final = 0.02
KEEP_MS: Final = 600_000


class FloodOf:
    """Flood of one queue."""

    def __init__(self, redis: ArqRedis, victim: Victim) -> None:
        self._redis = redis
        self._victim = victim
        self._queue = keyspace.queue(victim.tenant)
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._written = 0

    async def obey(self, order: Order) -> Done:
        """Do it; any other order than ``Flood`` ends the flood."""
        written = await self._rest()
        if isinstance(order, Flood):
            self._over.clear()
            self._task = asyncio.create_task(self._until_over(specimens(order.kind, self._victim)))
        return Done(jobs=written)

    async def _until_over(self, of_kind: list[Specimen]) -> None:
        size = max(len(each.payload) for each in of_kind)
        most = max(min(WAITING_JOBS, WAITING_BYTES // size), 1)
        numbers, inexhaustible = itertools.count(), itertools.cycle(of_kind)
        run = os.urandom(4).hex()
        while not self._over.is_set():
            missing = most - await self._redis.zcard(self._queue)
            if missing > 0:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for specimen in itertools.islice(inexhaustible, missing):
                        self._put(pipe, specimen, f"{run}{next(numbers):024x}")
                    pipe.publish(keyspace.doorbell(self._victim.tenant), self._victim.tenant)
                    await pipe.execute()
                self._written += missing
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), LOOK_S)

    def _put(self, pipe: Any, specimen: Specimen, number: str) -> None:
        job_id = b"{%s}" % self._victim.tenant.encode() + specimen.id_prefix + number.encode()
        pipe.set(b"arq:job:" + job_id, specimen.payload, px=KEEP_MS)
        pipe.zadd(self._queue, {job_id: unix_ms()})

    async def _rest(self) -> int:
        """End the flood and empty the queue; the number of jobs that were written.

        Jobs that are being written are counted: a cancelled write may be executed all the same, even after the queue was
        emptied.
        """
        task, self._task = self._task, None
        if task is not None:
            self._over.set()
            await task
        while waiting := await self._redis.zrange(self._queue, 0, 255):
            await self._redis.zrem(self._queue, *waiting)
            await self._redis.delete(*(b"arq:job:" + job_id for job_id in waiting))
        written, self._written = self._written, 0
        return written


async def _orders() -> AsyncIterator[Order]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    decoder = msgspec.json.Decoder(Order)
    while line := await reader.readline():
        yield decoder.decode(line)


async def _serve(config: RedisConfig, victim: Victim) -> None:
    redis = connect(config)
    async with contextlib.aclosing(redis):
        flood = FloodOf(redis, victim)
        print("ready", flush=True)
        async for order in _orders():
            print(msgspec.json.encode(await flood.obey(order)).decode(), flush=True)
        await flood.obey(Rest())


def main() -> None:
    """Obey until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.flood_process")
    for name in ("--socket", "--password-file", "--tenant", "--audience", "--algorithm"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    victim = Victim(audience=given.audience, tenant=given.tenant, algorithm=given.algorithm)
    config = RedisConfig(unix_socket=given.socket, password_file=given.password_file)
    with asyncio.Runner() as runner:
        runner.run(_serve(config, victim))


if __name__ == "__main__":
    main()
