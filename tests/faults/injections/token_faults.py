"""A copy of a tenant's token (same label, same serial number) under another tenant's table: refused before its PIN is tried."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.faults.harness.harness import eventually
from tests.faults.harness.tokens import TENANTS, copy_of
from tests.faults.history import CopiedToken
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw

COPY = "copy"
"""Folder of the copy, and the name of its module's log."""


async def copied(scene: Scene, draw: Draw) -> None:
    """One worker's configuration gives another tenant the copy, and is corrected. Its owner and other tenants are signed for."""
    harness, owner = scene.harness, draw.tenant
    await eventually(lambda: harness.lane(draw.worker, owner) is not None, "the owner's lane holds the token")
    names = sorted(TENANTS)
    other = names[(names.index(owner) + 1) % len(names)]
    copy = copy_of(harness.rig.tokens[owner], harness.token_folder(owner).parent, COPY)
    untouched = copy.states()
    real = harness.rig.tokens[other]
    harness.rig.tokens[other] = replace(real, settings=copy.settings)
    try:
        await harness.configure_worker(draw.worker)
        await scene.hold(max(draw.hold_s, 1.0), tenants=list(TENANTS), workers=[draw.worker])
    finally:
        harness.rig.tokens[other] = real
    await harness.configure_worker(draw.worker)
    tried = copy.states() != untouched
    harness.recorder.note(CopiedToken(at=time.time(), token=owner, tenant=other, pin_tried=tried))
