"""Faults of a Redis Cluster: a primary dies and its replica takes over; a slot is moved under load."""

from __future__ import annotations

import asyncio
import time

from tests.faults.harness.harness import eventually
from tests.faults.harness.tokens import TENANTS
from tests.faults.injections.redis_faults import kill_before_its_replicas_have_all
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.support.redis.cluster import RedisCluster
from tests.support.redis.process import RedisProcess

FAILS_OVER_WITHIN_S = 40.0
"""The cluster's own matter: two seconds until the others hold the primary to be down, and an election."""

KEYS_AT_ONCE = 3
BETWEEN_KEYS_S = 0.02


def _cluster(scene: Scene) -> RedisCluster:
    cluster = scene.harness.place.cluster
    assert cluster is not None, "the run has no cluster"
    return cluster


async def _primary_of(cluster: RedisCluster, tenant: str) -> RedisProcess:
    found = await asyncio.to_thread(cluster.primary_of, tenant)
    assert found is not None, f"no primary has the slot of {tenant}"
    return found


async def primary_killed(scene: Scene, draw: Draw) -> None:
    """SIGKILL to the primary of a tenant's slot, whose last writes its replica lacks; it comes back as the replica of the node that took over.

    Tenants of other shards are signed for meanwhile.
    """
    cluster = _cluster(scene)
    primary = await _primary_of(cluster, draw.tenant)
    others = [name for name in TENANTS if await _primary_of(cluster, name) is not primary]
    replicas = await asyncio.to_thread(cluster.replicas_of, primary)
    await kill_before_its_replicas_have_all(primary, replicas)
    async with asyncio.TaskGroup() as group:
        promotion = group.create_task(_promoted_at(cluster, draw.tenant, primary))
        await scene.hold(tenants=others)
    scene.over_at = min(scene.over_at, promotion.result())  # the others did not wait for it
    await asyncio.sleep(draw.hold_s)
    await asyncio.to_thread(primary.start)
    await eventually(cluster.is_whole, "the cluster is whole again", within_s=FAILS_OVER_WITHIN_S)


async def _promoted_at(cluster: RedisCluster, tenant: str, old: RedisProcess) -> float:
    await eventually(
        lambda: cluster.primary_of(tenant, besides=old) is not None,
        "a replica is promoted",
        within_s=FAILS_OVER_WITHIN_S,
    )
    return time.time()


async def slot_moved(scene: Scene, draw: Draw) -> None:
    """A tenant's slot is moved to another primary, a few keys at a time and in any order, as a resharding does.

    Other tenants are signed for meanwhile.
    """
    cluster = _cluster(scene)
    source = await _primary_of(cluster, draw.tenant)
    primaries = [node for node in cluster.nodes if node is not source and cluster.is_primary(node)]
    target = primaries[draw.nth % len(primaries)]
    await asyncio.to_thread(cluster.begin_move, draw.tenant, target)
    others = [name for name in TENANTS if name != draw.tenant]
    holding = asyncio.ensure_future(scene.hold(draw.hold_s, tenants=others))
    while not holding.done():
        await asyncio.to_thread(cluster.move_some_keys, draw.tenant, target, KEYS_AT_ONCE, scene.rng)
        await asyncio.sleep(BETWEEN_KEYS_S)
    await holding
    await asyncio.to_thread(cluster.end_move, draw.tenant, target)
