"""Notes on stderr while tools wait for signatures: they themselves are silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from queueing.errors.counts import agreed, counted
from workers.cli.shell.output import print_message

if TYPE_CHECKING:
    from queueing.agent.signer import PatientSigner
    from queueing.client.signing_client import SigningClient

_LOOK_S: Final = 1.0
_PATIENCE_S: Final = 10.0
"""Wait after which a person who looks at the build's log wants to know why."""

_NEXT_NOTE_S: Final = 60.0


@contextlib.asynccontextmanager
async def waiting_notes(client: SigningClient, signer: PatientSigner) -> AsyncIterator[None]:
    """Print a note within the block when a signature takes longer than 10 s, and every minute from then on."""
    task = asyncio.create_task(_note(client, signer))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _note(client: SigningClient, signer: PatientSigner) -> None:
    loop = asyncio.get_running_loop()
    not_before_s = loop.time()
    while True:
        await asyncio.sleep(_LOOK_S)
        waited_s = signer.longest_wait_s(loop.time())
        if waited_s < _PATIENCE_S or loop.time() < not_before_s:
            continue
        from workers.cli.signing.wait_reason import (
            wait_reason,  # its Redis client: most runs never wait so long
        )

        reason = await wait_reason(client)
        print_message(
            f"note: {counted(signer.waiting, 'signature')} {agreed(signer.waiting, 'is', 'are')} waited for, the first for {waited_s:.0f} s"
            + (f": {reason}" if reason else "")
        )
        not_before_s = loop.time() + _NEXT_NOTE_S
