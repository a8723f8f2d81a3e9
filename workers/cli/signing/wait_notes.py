"""Note on a terminal while a command waits: the file that is being hashed, or the reason for the wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from queueing.client.signing_client import SigningClient
    from workers.cli.shell.progress import Progress
    from workers.cli.signing.hashing import HashMeter

_TICK_S: Final = 0.5
_PATIENCE_S: Final = 3.0
"""Time without an outcome after which a person wants to know why."""

_ASKED_EVERY: Final = 4
"""Ticks between two questions to Redis."""


@contextlib.asynccontextmanager
async def wait_notes(client: SigningClient, progress: Progress, meter: HashMeter) -> AsyncIterator[None]:
    """Show notes within the block, if there is a terminal."""
    if not progress.visible:
        yield
        return
    task = asyncio.create_task(_show(client, progress, meter))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        progress.clear()


async def _show(client: SigningClient, progress: Progress, meter: HashMeter) -> None:
    ticks, reason = 0, ""
    while True:
        await asyncio.sleep(_TICK_S)
        if progress.idle_s < _PATIENCE_S:
            ticks, reason = 0, ""
            progress.show(hashing_note(meter))
            continue
        if ticks % _ASKED_EVERY == 0:
            from workers.cli.signing.wait_reason import (
                wait_reason,  # its Redis client: most commands never wait so long
            )

            reason = await wait_reason(client)
        ticks += 1
        progress.show(hashing_note(meter) or (f"waiting: {reason}" if reason else "waiting"))


def hashing_note(meter: HashMeter) -> str:
    """Progress of the file that takes longest; empty below 64 MiB, which take less than a second."""
    largest = meter.largest()
    if largest is None or largest[1] < 64 << 20:
        return ""
    name, done_bytes, size_bytes = largest
    of = f" of {size_bytes / 1e6:,.0f}" if size_bytes else ""
    return f"hashing {name}: {done_bytes / 1e6:,.0f}{of} MB"
