"""A load process: the real client, doing what the harness orders on stdin.

    python -m bench.load.client_process --trusting trusting.toml --verifying client.toml --digest-bytes 32

The client's own verification is on only where an order says so: what is measured is the service.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

import queueing.client.signing_client
from bench.load.arrivals import OpenLoop, poisson_starts
from bench.load.messages import Arrivals, Burst, Coalesced, Done, Endless, Flood, Order, Paced, Rest
from bench.measurement.percentiles import LatencyRecorder
from queueing import Signature, SigningClient
from queueing.aio.owned_tasks import end_tasks
from queueing.errors import SigningError
from queueing.garbage_collection import collect_less_often
from workers.dev.tenants import KEY

_decoder = msgspec.json.Decoder(Order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Identity of this load process."""

    trusting: Path
    verifying: Path
    digest_bytes: int


class LoadClient:
    """Carries out orders, one after another; clients stay connected in between."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clients: list[SigningClient] = []
        self._verifying: SigningClient | None = None
        self._open = AsyncExitStack()
        self._endless: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rest()
        await self._open.aclose()

    async def obey(self, order: Order) -> Done:
        """Do it; failures of single digests are counted, not raised."""
        match order:
            case Burst():
                return await self._burst(order)
            case Coalesced():
                return await self._coalesced(order)
            case Paced():
                return await self._paced(order)
            case Arrivals():
                return await self._arrivals(order)
            case Endless():
                self._endless = asyncio.create_task(self._for_ever(order))
            case Rest():
                await self._rest()
            case Flood():
                raise ValueError("a flood is for a flood process")
        return Done()

    async def _burst(self, order: Burst) -> Done:
        clients = [await self._verifying_client()] if order.verify else await self._some(order.clients)
        shares = [self._digests(order.digests // len(clients)) for _ in clients]
        failures: Counter[str] = Counter()
        cut_at(order.size)
        began = time.perf_counter()
        signed = await asyncio.gather(
            *(_sign_all(client, share, failures) for client, share in zip(clients, shares, strict=True))
        )
        return Done(signatures=sum(signed), seconds=time.perf_counter() - began, failures=dict(failures))

    async def _coalesced(self, order: Coalesced) -> Done:
        (client,) = await self._some(1)
        digests = iter(self._digests(order.digests))
        failures: Counter[str] = Counter()
        signed = 0

        async def caller() -> None:
            nonlocal signed
            for digest in digests:  # shared: each takes the next one
                try:
                    await client.sign(KEY, digest)
                    signed += 1
                except SigningError as error:
                    failures[error.reason] += 1

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(order.callers)))
        return Done(signatures=signed, seconds=time.perf_counter() - began, failures=dict(failures))

    async def _paced(self, order: Paced) -> Done:
        (client,) = await self._some(1)
        recorder = LatencyRecorder()
        began = time.perf_counter()
        for digest in self._digests(order.digests):
            await asyncio.sleep(order.pause_s)
            start = time.perf_counter()
            await client.sign(KEY, digest)
            recorder.record(time.perf_counter() - start)
        return Done(
            signatures=order.digests,
            seconds=time.perf_counter() - began,
            latency=recorder.percentiles(),
        )

    async def _arrivals(self, order: Arrivals) -> Done:
        (client,) = await self._some(1)
        cut_at(order.size)
        starts = list(poisson_starts(order.requests_per_s, order.seconds, seed=order.seed))
        digests = self._digests(len(starts) * order.size)
        failures: Counter[str] = Counter()

        async def request(index: int) -> None:
            part = digests[index * order.size : (index + 1) * order.size]
            if order.size == 1:
                await client.sign(KEY, part[0])
            elif await _sign_all(client, part, failures) != len(part):
                raise RuntimeError("not all were signed")

        result = await OpenLoop(request).run(starts)
        return Done(
            signatures=(len(starts) - result.failed) * order.size,
            seconds=order.seconds,
            failures=dict(failures),
            open_loop=result,
        )

    async def _for_ever(self, order: Endless) -> None:
        while True:
            await self._burst(Burst(digests=64 * order.size, size=order.size))

    async def _rest(self) -> None:
        endless, self._endless = self._endless, None
        if endless is not None:
            await end_tasks([endless])

    async def _some(self, count: int) -> list[SigningClient]:
        while len(self._clients) < count:
            client = SigningClient.from_file(self._options.trusting)
            self._clients.append(await self._open.enter_async_context(client))
            await client.default_algorithm(KEY)  # the key directory is read before the clock starts
        return self._clients[:count]

    async def _verifying_client(self) -> SigningClient:
        if self._verifying is None:
            client = SigningClient.from_file(self._options.verifying)
            self._verifying = await self._open.enter_async_context(client)
        return self._verifying

    def _digests(self, count: int) -> list[bytes]:
        size = self._options.digest_bytes
        random = os.urandom(count * size)
        return [random[i : i + size] for i in range(0, len(random), size)]


def cut_at(size: int) -> None:
    """Let ``sign_many`` put so many digests into an envelope: other sizes than its own take the same way."""
    if not hasattr(queueing.client.signing_client, "DIGESTS_PER_SLICE"):
        raise RuntimeError(
            "queueing.client.signing_client cuts envelopes in another way: nothing of another size can be measured"
        )
    setattr(queueing.client.signing_client, "DIGESTS_PER_SLICE", size)  # noqa: B010  # a constant for everybody else


async def _sign_all(client: SigningClient, digests: list[bytes], failures: Counter[str]) -> int:
    signed = 0
    async with aclosing(client.sign_many(KEY, digests)) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, Signature):
                signed += 1
            else:
                failures[outcome.reason] += 1
    return signed


async def _orders() -> AsyncIterator[Order]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield _decoder.decode(line)


async def _serve(options: Options) -> None:
    async with LoadClient(options) as load:
        print("ready", flush=True)
        async for order in _orders():
            done = await load.obey(order)
            print(msgspec.json.encode(done).decode(), flush=True)


def main() -> None:
    """Obey until stdin ends."""
    import uvloop

    collect_less_often()  # as `sigmill` does

    parser = argparse.ArgumentParser(prog="python -m bench.load.client_process")
    parser.add_argument("--trusting", type=Path, required=True)
    parser.add_argument("--verifying", type=Path, required=True)
    parser.add_argument("--digest-bytes", type=int, required=True)
    given = parser.parse_args()
    options = Options(trusting=given.trusting, verifying=given.verifying, digest_bytes=given.digest_bytes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))


if __name__ == "__main__":
    main()
