"""Two workers that claim from one Redis: ``one`` and ``two``."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import Claims
from tests.support.farm.queued import LEASE_MS


@pytest.fixture
def one(redis: ArqRedis) -> Claims:
    """Claims of a worker."""
    return Claims(redis, owner="one", lease_ms=LEASE_MS)


@pytest.fixture
def two(redis: ArqRedis) -> Claims:
    """Claims of another worker."""
    return Claims(redis, owner="two", lease_ms=LEASE_MS)
