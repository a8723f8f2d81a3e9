"""The attacker's means: a connection to the shared rig's Redis, and a maker of acme's envelopes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from tests.support.farm.forging import Forger
from tests.support.rig.shared_rig import SharedRig


@pytest.fixture
async def redis(shared_rig: SharedRig) -> AsyncIterator[ArqRedis]:
    """A connection that may write anything."""
    pool = shared_rig.rig.connect()
    yield pool
    await pool.aclose()


@pytest.fixture
def acme(shared_rig: SharedRig) -> Forger:
    """Maker of envelopes that acme's client key signs."""
    return Forger(key=shared_rig.rig.keys["acme"])
