"""Faults of a primary that Sentinels watch: it dies, it hangs, or an operator fails over."""

from __future__ import annotations

import asyncio

from tests.faults.harness.harness import eventually
from tests.faults.injections.redis_faults import kill_before_its_replicas_have_all
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.support.redis.nodes import RedisNodes
from tests.support.redis.process import RedisProcess

FAILS_OVER_WITHIN_S = 40.0
"""The Sentinels' own matter: one second until they hold the primary to be down, and an election, repeated where they disagree."""


async def _whole(scene: Scene) -> tuple[RedisNodes, RedisProcess]:
    """The nodes, once all of them are linked, and their primary."""
    nodes = scene.harness.place.sentinels
    assert nodes is not None, "the run has no Sentinels"
    found: list[RedisProcess] = []

    def is_whole() -> bool:
        primary = nodes.primary()
        found[:] = [] if primary is None else [primary]
        return primary is not None and nodes.followers(primary) == len(nodes.nodes) - 1

    await eventually(is_whole, "all nodes are linked", within_s=FAILS_OVER_WITHIN_S)
    return nodes, found[0]


async def _promoted(nodes: RedisNodes, old: RedisProcess) -> None:
    await eventually(
        lambda: nodes.primary(besides=old) is not None, "another primary", within_s=FAILS_OVER_WITHIN_S
    )


async def primary_killed(scene: Scene, draw: Draw) -> None:
    """SIGKILL; the last writes have reached no replica."""
    nodes, primary = await _whole(scene)
    replicas = [node for node in nodes.nodes if node is not primary]
    await kill_before_its_replicas_have_all(primary, replicas)
    await _promoted(nodes, primary)
    await asyncio.sleep(draw.hold_s)
    await asyncio.to_thread(primary.start)
    await _whole(scene)


async def primary_hangs(scene: Scene, draw: Draw) -> None:
    """SIGSTOP until another node is primary, then SIGCONT: what it still holds to be true counts for nothing."""
    nodes, primary = await _whole(scene)
    primary.pause()
    await _promoted(nodes, primary)
    await asyncio.sleep(draw.hold_s)
    primary.resume()
    await _whole(scene)


async def failed_over(scene: Scene, draw: Draw) -> None:
    """As an operator does: the replicas catch up, one is promoted, and clients that still wait at the old one are sent away."""
    del draw
    nodes, primary = await _whole(scene)
    await asyncio.to_thread(nodes.pause_writes, primary)
    await asyncio.to_thread(nodes.fail_over)
    await _promoted(nodes, primary)
    await asyncio.to_thread(primary.command, "CLIENT", "KILL", "TYPE", "normal")
    await asyncio.to_thread(primary.command, "CLIENT", "UNPAUSE")
    await _whole(scene)
