"""A client in a process of its own, to be killed: submits one envelope, says so, and waits for its result.

python -m tests.faults.harness.client_process CLIENT.TOML REQUEST DIGEST...      (digests in hex)
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from queueing import SigningClient
from tests.faults.harness.load import KEY


async def _work(file: Path, request: str, digests: list[bytes]) -> None:
    async with SigningClient.from_file(file) as client:
        job = await client.submit(KEY, digests, request_id=request)
        sys.stdout.write("submitted\n")
        sys.stdout.flush()
        await client.wait(job)


if __name__ == "__main__":
    asyncio.run(_work(Path(sys.argv[1]), sys.argv[2], [bytes.fromhex(word) for word in sys.argv[3:]]))
