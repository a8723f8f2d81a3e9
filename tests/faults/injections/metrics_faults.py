"""Abuse of a worker's metrics port: hundreds of connections that say nothing, trickle, or send no HTTP.

The worker continues, serves no more connections at a time than its limit, and a scrape is answered meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable

from tests.faults.harness.metrics_port import MetricsPort
from tests.faults.injections.scene import Injection, Scene
from tests.faults.injections.schedule import Draw

CONNECTIONS = 300
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""Beginning of a TLS handshake."""

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: sigmill\r\n"
TRICKLE_S = 0.1
AGAIN_S = 0.5

Talk = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Talks on connection number n, for ever."""


async def _say_nothing(writer: asyncio.StreamWriter, number: int) -> None:
    """Every other one closes its half, as a client that has gone away."""
    if number % 2:
        writer.write_eof()
    await asyncio.Event().wait()


async def _trickle(writer: asyncio.StreamWriter, number: int) -> None:
    """A request that never ends, byte by byte, then field by field."""
    writer.write(REQUEST[: number % len(REQUEST)])
    for i in itertools.count(number):
        await asyncio.sleep(TRICKLE_S)
        writer.write(b"X-%d: 1\r\n" % i if i % 2 else b"X")


async def _send_garbage(writer: asyncio.StreamWriter, number: int) -> None:
    """TLS, lines without end, NULs, and requests that no HTTP knows."""
    kinds = (HELLO * (1 + number), b"GET / HTTP/9.9\r\n\r\n", b"\0" * 70_000, b"A" * 70_000, b"\r\n" * 9000)
    writer.write(kinds[number % len(kinds)])
    await asyncio.Event().wait()


async def _connect(port: int, talk: Talk, number: int) -> None:
    """Again and again: the server ends connections that are beyond its limit, or overdue."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            talking = asyncio.ensure_future(talk(writer, number))
            try:
                while await reader.read(4096):
                    pass
            finally:
                talking.cancel()
                writer.transport.abort()
        await asyncio.sleep(AGAIN_S)


def _abuse(talk: Talk) -> Injection:
    async def abuse(scene: Scene, draw: Draw) -> None:
        worker = scene.harness.workers[draw.worker]
        port = MetricsPort(f"worker-{draw.worker}", worker, scene.harness.recorder)
        async with asyncio.TaskGroup() as group:
            talks = [group.create_task(_connect(worker.port, talk, i)) for i in range(CONNECTIONS)]
            watching = group.create_task(port.watch())
            await scene.hold(draw.hold_s, workers=[draw.worker])
            await port.answered()
            for task in (*talks, watching):
                task.cancel()
        port.note()

    return abuse


silent, slow_loris, garbage = _abuse(_say_nothing), _abuse(_trickle), _abuse(_send_garbage)
