"""Floods by others: rubbish and forged envelopes in a tenant's queue, and silent or talkative connections to the metrics port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from queueing.protocol import keyspace
from queueing.protocol.client_keys import ClientKey
from queueing.redis.errors import REDIS_ERRORS
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.support.farm.forging import Forger, payload

JOBS = 500
CONNECTIONS = 200
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""Beginning of a TLS handshake."""


async def _flood(scene: Scene, draw: Draw, make: Callable[[int], bytes]) -> None:
    """Jobs as the tenant's own Redis user could write them, without any client key."""
    redis = scene.harness.rig.connect()
    names = [f"{{{draw.tenant}}}flood-{scene.rng.getrandbits(64):x}" for _ in range(JOBS)]
    try:
        with contextlib.suppress(*REDIS_ERRORS):  # it may be away, or refuse
            async with redis.pipeline(transaction=False) as pipe:
                for i, name in enumerate(names):
                    pipe.set(keyspace.job(name), make(i), ex=60)
                pipe.zadd(keyspace.queue(draw.tenant), {name: float(i) for i, name in enumerate(names)})
                await pipe.execute()
    finally:
        await redis.aclose()


async def rubbish(scene: Scene, draw: Draw) -> None:
    """Payloads that are no jobs, before all others in the queue."""
    await _flood(scene, draw, lambda i: scene.rng.randbytes(1 + i % 300))


async def forged(scene: Scene, draw: Draw) -> None:
    """Envelopes under a key that no client of the tenant has."""
    forger = Forger(key=ClientKey.generate(), tenant=draw.tenant)
    await _flood(scene, draw, lambda _: payload(forger.seal()))


async def metrics_port(scene: Scene, draw: Draw) -> None:
    """Half of the connections say nothing, the others no HTTP; all are held for a while."""
    worker = scene.harness.workers.get(draw.worker)
    if worker is None:  # another fault has ended it
        return
    async with asyncio.TaskGroup() as group:
        for i in range(CONNECTIONS):
            group.create_task(_hold(worker.port, HELLO * i if i % 2 else b"", draw.hold_s))


async def _hold(port: int, words: bytes, hold_s: float) -> None:
    with contextlib.suppress(OSError):  # the server has a limit, and ends what is beyond it
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(words)
        await asyncio.sleep(hold_s)
        writer.transport.abort()
