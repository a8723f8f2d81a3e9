"""Faults of the HSM: errors and hangs of the module, and a token that goes away."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

from tests.faults.harness.tokens import BY_PYTHON
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.faults.injections.worker_faults import lane_kill


async def _rules(scene: Scene, draw: Draw, *rules: str, hold_s: float | None = None) -> None:
    """The module of the tenant's token has these faults for a while."""
    scene.harness.rules(draw.tenant, *rules)
    await asyncio.sleep(draw.hold_s if hold_s is None else hold_s)
    scene.harness.rules(draw.tenant)


async def sign_error(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign rv={draw.retryable:#x} every={draw.nth}")


async def sign_init_error(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_SignInit rv={draw.retryable:#x} every={draw.nth}")


async def length_query_error(scene: Scene, draw: Draw) -> None:
    draw = replace(draw, tenant=BY_PYTHON)  # the other tenants' lanes ask for no length
    await _rules(scene, draw, f"C_SignLength rv={draw.retryable:#x} every={draw.nth}")


async def scarce(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign rv={draw.scarce:#x} every={1 + draw.nth}")


async def lane_in_doubt(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_SignInit rv={draw.lane:#x} nth={draw.nth}", hold_s=0.3)


async def find_error(scene: Scene, draw: Draw) -> None:
    """Keys are not found by a lane that has to begin anew."""
    scene.harness.rules(draw.tenant, f"C_FindObjects rv={draw.retryable:#x}")
    await lane_kill(scene, draw)
    await _rules(scene, draw, f"C_FindObjects rv={draw.retryable:#x}")


async def open_session_error(scene: Scene, draw: Draw) -> None:
    scene.harness.rules(draw.tenant, f"C_OpenSession rv={draw.retryable:#x}")
    await lane_kill(scene, draw)
    await _rules(scene, draw, f"C_OpenSession rv={draw.retryable:#x}")


async def call_hangs(scene: Scene, draw: Draw) -> None:
    """One call never returns; the lane is ended when its time is over, which is part of the recovery."""
    await _rules(scene, draw, f"C_Sign hang nth={draw.nth}", hold_s=0.3)


async def slow_calls(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, "C_Sign hang=0.2 every=3")


async def wrong_signature(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign corrupt nth={draw.nth}", hold_s=0.3)


async def module_exits(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign exit=5 nth={draw.nth}", hold_s=0.2)


async def module_crashes(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign segv nth={draw.nth}", hold_s=0.2)


async def device_removed(scene: Scene, draw: Draw) -> None:
    code = f"rv={draw.token:#x}"
    await _rules(
        scene, draw, *(f"{name} {code}" for name in ("C_SignInit", "C_OpenSession", "C_GetTokenInfo"))
    )


async def token_away(scene: Scene, draw: Draw) -> None:
    """The token's directory is elsewhere for a while (SoftHSM's way to be unplugged)."""
    folder = scene.harness.token_folder(draw.tenant)
    away = folder.with_name("away")
    folder.rename(away)
    folder.mkdir()
    await asyncio.sleep(draw.hold_s)
    await asyncio.to_thread(_put_back, folder, away)


def _put_back(folder: Path, away: Path) -> None:
    shutil.rmtree(folder)
    away.rename(folder)


async def poison_job(scene: Scene, draw: Draw) -> None:
    """A job at which the module crashes each time, among others: it alone is set aside."""
    load, tenant = scene.load, draw.tenant
    digests = [scene.rng.randbytes(32) for _ in range(3)]
    scene.breaks.append(digests[1])
    scene.harness.rules(tenant, f"C_Sign segv tail={digests[1].hex()}")
    client = load.clients[tenant][0]
    job = await load.accepted(client, digests, load.request_id())
    if job is not None:
        await load.answered(client, job)
    scene.harness.rules(tenant)


async def refused_digest(scene: Scene, draw: Draw) -> None:
    """One digest that the token refuses for good fails alone."""
    load, tenant = scene.load, draw.tenant
    digests = [scene.rng.randbytes(32) for _ in range(6)]
    bad = digests[draw.nth % 6]
    scene.refuses.append(bad)
    scene.harness.rules(tenant, f"C_Sign rv={draw.final:#x} tail={bad.hex()}")
    client = load.clients[tenant][0]
    job = await load.accepted(client, digests, load.request_id())
    if job is not None:
        await load.answered(client, job)
    scene.harness.rules(tenant)
