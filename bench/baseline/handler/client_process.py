"""The handler's client: aiohttp, connections kept open; it obeys the same orders as ``bench.load.client_process`` (bursts, paced).

python -m bench.baseline.handler.client_process --url U --ca-file F --secret-file F --digest-bytes 32
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import ClientSession, TCPConnector

from bench.load.messages import Burst, Done, Order, Paced
from bench.measurement.percentiles import LatencyRecorder

AT_ONCE: Final = 64
"""Requests under way, each on a connection of its own."""

_decoder = msgspec.json.Decoder(Order)


class HandlerClient:
    """Carries out orders, one after another."""

    def __init__(self, session: ClientSession, url: str, digest_bytes: int) -> None:
        self._session = session
        self._url = url
        self._digest_bytes = digest_bytes

    async def obey(self, order: Order) -> Done:
        """Do it; a request that fails ends the process."""
        match order:
            case Burst():
                return await self._burst(order)
            case Paced():
                return await self._paced(order)
        raise ValueError("this client knows bursts and paced requests")

    async def _burst(self, order: Burst) -> Done:
        batches = iter([self._digests(order.size) for _ in range(-(-order.digests // order.size))])
        signed = 0

        async def caller() -> None:
            nonlocal signed
            for batch in batches:  # shared: each takes the next one
                answered = await self._sign(batch)  # not in one expression: the others count meanwhile
                signed += answered

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        return Done(signatures=signed, seconds=time.perf_counter() - began)

    async def _paced(self, order: Paced) -> Done:
        recorder = LatencyRecorder()
        began = time.perf_counter()
        for _ in range(order.digests):
            await asyncio.sleep(order.pause_s)
            digests = self._digests(1)
            start = time.perf_counter()
            await self._sign(digests)
            recorder.record(time.perf_counter() - start)
        return Done(
            signatures=order.digests, seconds=time.perf_counter() - began, latency=recorder.percentiles()
        )

    async def _sign(self, digests: list[bytes]) -> int:
        body = {"digests": [base64.b64encode(each).decode() for each in digests]}
        async with self._session.post(self._url, json=body) as answer:
            answer.raise_for_status()
            signatures = [base64.b64decode(each) for each in (await answer.json())["signatures"]]
        return len(signatures)

    def _digests(self, count: int) -> list[bytes]:
        return [os.urandom(self._digest_bytes) for _ in range(count)]


async def _serve(options: argparse.Namespace) -> None:
    context = ssl.create_default_context(cafile=options.ca_file)
    headers = {"Authorization": f"Bearer {options.secret_file.read_text('utf-8').strip()}"}
    connector = TCPConnector(limit=AT_ONCE, ssl=context)
    async with ClientSession(connector=connector, headers=headers) as session:
        client = HandlerClient(session, options.url, options.digest_bytes)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            done = await client.obey(_decoder.decode(line))
            print(msgspec.json.encode(done).decode(), flush=True)


def main() -> None:
    """Obey until stdin ends."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.baseline.handler.client_process")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--digest-bytes", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
