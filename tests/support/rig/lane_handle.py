"""A real lane process in the test's hands: frames in, frames out, and nothing of the worker's between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.support.rig.rig import Rig
from workers.lanes.protocol import (
    Chunk,
    EnvelopeSlice,
    FromLane,
    LaneFailure,
    Outcomes,
    Ready,
    Reload,
    Reloaded,
    SignCanary,
    SignedCanary,
    encode_frame,
    frame_length,
    from_lane_decoder,
)
from workers.lanes.supervisor.spawn import LaneSpec, LaneStream, spawn_or_connect

PATIENCE_S = 60.0


def spec_for(rig: Rig, tenant: str, *, sessions: int) -> LaneSpec:
    """The lane of a tenant's token, with so many session threads."""
    file = rig.config()
    settings = rig.load().service.tokens[tenant]
    return LaneSpec(file=file, token=tenant, tenant=tenant, settings=settings, sessions=sessions)


@dataclass(slots=True)
class LaneHandle:
    """Start it with ``async with``; the process is gone afterwards."""

    spec: LaneSpec
    failing: LaneFailure | None = None
    _next_id: int = 0
    _connection: LaneStream | None = None
    ready: Ready = field(default_factory=lambda: Ready(0, 0, 0, ""))

    async def __aenter__(self) -> Self:
        self._connection = await spawn_or_connect(self.spec)
        try:
            first = await self._read()
            assert isinstance(first, Ready), first
        except BaseException:
            await self.__aexit__()
            raise
        self.ready = first
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._connection is not None
        self._connection.kill()
        await self._connection.ended()
        with contextlib.suppress(OSError):
            await self._connection.writer.wait_closed()

    async def _read(self) -> FromLane:
        assert self._connection is not None
        async with asyncio.timeout(PATIENCE_S):
            reader = self._connection.reader
            message: FromLane = from_lane_decoder.decode(
                await reader.readexactly(frame_length(await reader.readexactly(4)))
            )
        return message

    async def sign(self, items: Sequence[EnvelopeSlice]) -> Outcomes:
        """Send one chunk and wait for its answer."""
        assert self._connection is not None
        self._next_id += 1
        self._connection.writer.write(encode_frame(Chunk(self._next_id, tuple(items))))
        while True:
            message = await self._read()
            if isinstance(message, LaneFailure):
                self.failing = message
            if isinstance(message, Outcomes):
                assert message.id == self._next_id
                return message

    async def reload(self, *orders: bytes, files: bool = True) -> Reloaded:
        """Have it judge orders and read its files again."""
        assert self._connection is not None
        self._next_id += 1
        self._connection.writer.write(encode_frame(Reload(self._next_id, files, orders)))
        while True:
            message = await self._read()
            if isinstance(message, Reloaded):
                return message

    async def canary(self, key: str, version: int) -> SignedCanary:
        """Ask for a canary, and wait for its answer."""
        assert self._connection is not None
        self._next_id += 1
        self._connection.writer.write(encode_frame(SignCanary(self._next_id, key, version)))
        while True:
            message = await self._read()
            if isinstance(message, SignedCanary):
                assert message.id == self._next_id
                return message

    async def exit_code(self) -> int | None:
        assert self._connection is not None
        async with asyncio.timeout(PATIENCE_S):
            return await self._connection.ended()
