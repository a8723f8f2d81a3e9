"""Floods by others: rubbish and forged envelopes in a tenant's queue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from queueing.protocol import keyspace
from queueing.protocol.client_keys import ClientKey
from queueing.redis.errors import REDIS_ERRORS
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.support.farm.forging import Forger, payload

JOBS = 500


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
