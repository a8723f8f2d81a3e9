"""A host-started lane that is hostile: what it answers costs its own tenant at most, never the worker."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from queueing import Signature
from queueing.errors import PolicyDenied
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.jobs import WireError
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig
from tests.support.waiting import until_async
from workers.lanes.protocol import (
    Chunk,
    Outcomes,
    Ready,
    SliceOutcome,
    encode_frame,
    frame_length,
    to_lane_decoder,
)

Answer = Callable[[Chunk], bytes]


def long_text(chunk: Chunk) -> bytes:
    """An error text of 5 MiB, more than a record of the log holds."""
    error = WireError("policy.denied", "x" * (5 * 1024 * 1024))
    return encode_frame(Outcomes(chunk.id, tuple(SliceOutcome(error) for _ in chunk.items), 0.001))


def negative_time(chunk: Chunk) -> bytes:
    """Signatures with a negative duration."""
    items = tuple(SliceOutcome(None, 1, b"f" * 32, (b"s" * 70,) * item.count) for item in chunk.items)
    return encode_frame(Outcomes(chunk.id, items, 0.001, -1.0))


def deep_nesting(chunk: Chunk) -> bytes:
    """100,000 nested arrays, in an unknown field."""
    text = msgspec.msgpack.encode
    error = b"\x82" + text("code") + text("hsm.fault") + text("z") + b"\x91" * 100_000 + b"\xc0"
    body = b"\x94" + text("Outcomes") + text(chunk.id) + b"\x91\x91" + error + text(0.1)
    return struct.pack(">I", len(body)) + body


class HostileLane:
    """Server in place of a lane: logs in, and answers each chunk as it likes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.chunks = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(Ready(1, 2, 2, "hostile", True)))
        try:
            while True:
                head = await reader.readexactly(4)
                message = to_lane_decoder.decode(await reader.readexactly(frame_length(head)))
                if isinstance(message, Chunk):
                    self.chunks += 1
                    writer.write(self._answer(message))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("answer", [long_text, negative_time, deep_nesting], ids=lambda a: a.__name__)
async def test_an_invalid_answer_does_not_end_the_worker(make_rig: MakeRig, answer: Answer) -> None:
    """Another tenant signs before and after; the lane is replaced, or its tenant gets a short error."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    place: Path = rig.redis.socket_path.parent / "lane.sock"
    lane = HostileLane(answer)
    server = await asyncio.start_unix_server(lane.serve, path=str(place))
    try:
        rig.token = {"acme": f'socket = "{place}"\nworker_uid = {os.getuid()}'}
        worker = await asyncio.to_thread(rig.start_worker)
        async with rig.client("globex") as globex, rig.client("acme") as acme:
            (digest,) = digests(1)
            assert isinstance(await globex.sign("release", digest, timeout_s=60), Signature)
            job = await acme.submit("release", [digest])
            if answer is long_text:
                (refused,) = await acme.wait(job, timeout_s=60)
                assert isinstance(refused, PolicyDenied)
                assert len(refused.message) <= 2000
            else:
                await until_async(
                    lambda: worker.events("lane.invalid_answer") > 0, "the lane is found to be invalid"
                )
            (another,) = digests(1, salt="after")
            assert isinstance(await globex.sign("release", another, timeout_s=60), Signature)
        assert worker.alive
        assert lane.chunks
    finally:
        server.close()
