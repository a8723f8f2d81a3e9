"""The baseline's client: stock arq, one digest per job; it obeys the same orders as ``bench.load.client_process`` (bursts).

python -m bench.baseline.client_process --socket S --password-file F --queue Q --digest-bytes 32
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
from arq.connections import ArqRedis, create_pool
from arq.jobs import Job

from bench.baseline.worker import redis_settings
from bench.load.messages import Burst, Done, Order

AT_ONCE: Final = 100
RESULT_POLL_S: Final = 0.1  # what a result that is not there yet costs is a poll; shorter ones cost more CPU

_decoder = msgspec.json.Decoder(Order)


async def burst(redis: ArqRedis, digests: list[bytes]) -> Done:
    """Enqueue all, then read all results."""
    began = time.perf_counter()
    jobs = await _each([redis.enqueue_job("sign", digest) for digest in digests])
    results = await _each([job.result(poll_delay=RESULT_POLL_S) for job in jobs if isinstance(job, Job)])
    signed = sum(isinstance(result, bytes) for result in results)
    return Done(signatures=signed, seconds=time.perf_counter() - began)


async def _each(calls: list[object]) -> list[object]:
    """Await them, ``AT_ONCE`` at a time, in order."""
    answers: list[object] = [None] * len(calls)
    left = iter(enumerate(calls))

    async def caller() -> None:
        for position, call in left:
            answers[position] = await call  # type: ignore[misc]

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return answers


async def _serve(options: argparse.Namespace) -> None:
    redis = await create_pool(
        redis_settings(options.socket, options.password_file),
        default_queue_name=options.queue,
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
    )
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = _decoder.decode(line)
        assert isinstance(order, Burst)
        digests = [os.urandom(options.digest_bytes) for _ in range(order.digests)]
        print(msgspec.json.encode(await burst(redis, digests)).decode(), flush=True)
    await redis.aclose()


def main() -> None:
    """Obey until stdin ends."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.baseline.client_process")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--digest-bytes", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
