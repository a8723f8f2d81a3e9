"""Signing and verification for one tenant of the demonstration, through the real client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from queueing import Signature, SigningClient
from workers.dev.signature_checks import Check, count_valid, sha256_check
from workers.dev.tenants import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.protocol.public_keys import PublicKey
    from workers.dev.demo.summary import Tally

_CHECK_BATCH: Final = 256
_DEADLINE_S: Final = 900.0


async def sign_and_verify(
    config: Path, public_key: PublicKey, digests: list[bytes], tally: Tally, started: float
) -> None:
    """Sign the digests, verify the signatures and count both in ``tally``.

    ``started`` is the common start on the monotonic clock. Raises a ``SigningError`` of the whole call; errors of
    single digests are counted.
    """
    check = sha256_check(public_key.spki)
    unchecked: list[tuple[bytes, bytes]] = []
    async with SigningClient.from_file(config) as client:
        positions = iter(digests)
        async for outcome in client.sign_many(KEY, digests, timeout_s=_DEADLINE_S):
            digest = next(positions)
            tally.elapsed_s = time.monotonic() - started
            if isinstance(outcome, Signature) and outcome.public_key_sha256 == public_key.sha256:
                tally.signed += 1
                unchecked.append((outcome.signature, digest))
            else:
                tally.failures[getattr(outcome, "reason", "result.invalid")] += 1
            if len(unchecked) >= _CHECK_BATCH:
                await _check(check, unchecked, tally)
                unchecked = []
        await _check(check, unchecked, tally)


async def _check(check: Check, pairs: list[tuple[bytes, bytes]], tally: Tally) -> None:
    """Verify in a thread, so that the event loop keeps reading results."""
    valid = await asyncio.to_thread(count_valid, check, pairs)
    tally.verified += valid
