"""Clients that wait at a relay: one connection with one poll each, repeated as often as it is answered.

    python -m bench.load.waiting_clients --port 8443 --ca-file ca.pem --tenant t --count 10000

The job ids come on stdin, one a line; ``ready`` is printed when every client has sent its poll. It ends with stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from typing import Final

from queueing.client.delivery import relay_messages as messages

_AT_ONCE: Final = 32
"""TLS handshakes at once: a client's own time-out is longer than so many take on one core."""

_ROUND_READ_BYTES: Final = 64 * 1024


class WaitingClients:
    """The clients of one process."""

    def __init__(self, port: int, context: ssl.SSLContext, tenant: str) -> None:
        self._port = port
        self._context = context
        self._tenant = tenant
        self._handshakes = asyncio.Semaphore(_AT_ONCE)

    async def wait(self, job_id: str, sent: asyncio.Semaphore) -> None:
        """Poll for one job until cancelled."""
        async with self._handshakes:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._context, limit=_ROUND_READ_BYTES
            )
        request = messages.PollRequest(self._tenant, (job_id,), messages.MOST_WAIT_MS)
        body = messages.encoded(request)
        head = f"POST {messages.RESULTS} HTTP/1.1\r\nHost: relay\r\nContent-Length: {len(body)}\r\n\r\n"
        while True:
            writer.write(head.encode() + body)
            await writer.drain()
            sent.release()
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)


async def _run(port: int, context: ssl.SSLContext, tenant: str, job_ids: list[str]) -> None:
    clients = WaitingClients(port, context, tenant)
    sent = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(clients.wait(job_id, sent)) for job_id in job_ids]
        for _ in job_ids:
            await sent.acquire()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()


def main() -> None:
    """Wait until stdin ends."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.load.waiting_clients")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    job_ids = [sys.stdin.readline().strip() for _ in range(given.count)]
    context = ssl.create_default_context(cafile=given.ca_file)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(given.port, context, given.tenant, job_ids))


if __name__ == "__main__":
    main()
