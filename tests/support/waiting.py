"""Waiting for a condition, without a fixed pause: polled until it holds or the test's patience ends; or turns of the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 60.0


def until(question: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Wait until the answer is yes; fails with ``what`` when it takes too long."""
    deadline = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.01)


async def until_async(question: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """As ``until``, and the loop goes on."""
    deadline = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.01)


async def turn(times: int = 20) -> None:
    """Let the loop go round until everything that can happen has happened."""
    for _ in range(times):
        await asyncio.sleep(0)
