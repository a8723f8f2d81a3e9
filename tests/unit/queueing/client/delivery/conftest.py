"""A submitter that runs, over a queue in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.fakes.submitting import SubmitterStack


@pytest.fixture
async def stack() -> AsyncIterator[SubmitterStack]:
    made = SubmitterStack()
    running = asyncio.ensure_future(made.submitter.run())
    yield made
    running.cancel()
    await asyncio.wait((running,))
