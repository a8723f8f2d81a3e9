"""Limits of a tenant that are changed under load: by an edit of its file and SIGHUP."""

from __future__ import annotations

import asyncio
import time

from queueing.protocol.signing_costs import COST_OF
from tests.faults.harness.tokens import TENANTS
from tests.faults.history import Limits
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.support.rig.operator import edit

DIGESTS_PER_S = 20
"""A fraction of what its builds ask for, and of the jobs that the fault adds."""

MORE_JOBS = 6


async def changed(scene: Scene, draw: Draw) -> None:
    """A rate, then twice that with half the burst, then none again. Other tenants are signed for as ever."""
    cost = COST_OF[TENANTS[draw.tenant]]
    load, others = scene.load, [name for name in TENANTS if name != draw.tenant]
    rate = DIGESTS_PER_S * cost
    await _adopt(scene, draw.tenant, "", rate=rate, burst=rate)
    async with asyncio.TaskGroup() as group:
        for _ in range(MORE_JOBS):
            group.create_task(load.plain(draw.tenant, load.digests(draw.tenant, scene.rng), scene.rng))
        await scene.hold(draw.hold_s, tenants=others)
        before = _table(rate, rate)
        await _adopt(scene, draw.tenant, before, rate=2 * rate, burst=rate / 2)
        await scene.hold(draw.hold_s, tenants=others)
        await _adopt(scene, draw.tenant, _table(2 * rate, rate / 2), rate=0.0, burst=0.0)


def _table(rate: float, burst: float) -> str:
    return f"[limits]\nrate_per_s = {rate!r}\nburst = {burst!r}\n\n"


async def _adopt(scene: Scene, tenant: str, before: str, *, rate: float, burst: float) -> None:
    """Change the limits on all workers, and write down from when to when the change was under way."""
    began_at = time.time()
    first_client = "[clients."
    after = _table(rate, burst) if rate else ""
    edit(scene.harness.rig.tenant_file(tenant), before + first_client, after + first_client)
    await scene.harness.reload_workers()
    scene.harness.recorder.note(
        Limits(
            at=time.time(),
            tenant=tenant,
            began_at=began_at,
            rate_per_s=rate,
            burst=burst,
            cost=COST_OF[TENANTS[tenant]],
        )
    )
