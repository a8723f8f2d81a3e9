"""Frames are read one after another; what is too long is dropped and costs no memory."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.rpc.frames import MAX_MESSAGE_BYTES, Frame, frame, read_frame


class Source:
    """Bytes that were received; ``largest``: the longest piece that was asked for."""

    def __init__(self, raw: bytes, zeros: int = 0) -> None:
        self._raw = raw
        self._zeros = zeros
        self.largest = 0

    async def readexactly(self, n: int) -> bytes:
        self.largest = max(self.largest, n)
        taken, self._raw = self._raw[:n], self._raw[n:]
        filled = min(n - len(taken), self._zeros)
        self._zeros -= filled
        taken += bytes(filled)
        if len(taken) < n:
            raise asyncio.IncompleteReadError(taken, n)
        return taken


async def test_frames_follow_each_other() -> None:
    """Options, such as the name of the module, are skipped."""
    source = Source(struct.pack(">III", 16, 6, 2) + b"client" + b"ab" + frame(17, b"c"))
    assert [await read_frame(source), await read_frame(source)] == [Frame(16, b"ab"), Frame(17, b"c")]


async def test_a_message_above_the_cap_is_dropped_in_pieces() -> None:
    """64 MiB are read in small pieces, and the frame behind them is found."""
    size = 64 << 20
    source = Source(struct.pack(">III", 1, 0, size), zeros=size + 12)
    assert await read_frame(source) == Frame(1, None)
    assert source.largest <= MAX_MESSAGE_BYTES
    assert await read_frame(source) == Frame(0, b"")


@pytest.mark.parametrize("length", [MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1])
async def test_the_cap_is_the_longest_message(length: int) -> None:
    """The cap itself is still read."""
    read = await read_frame(Source(struct.pack(">III", 1, 0, length), zeros=length))
    assert (read.message is None) == (length > MAX_MESSAGE_BYTES)


@given(st.binary(max_size=200))
async def test_any_stream_ends(raw: bytes) -> None:
    """Frames are read until the stream ends, whatever is in it."""
    source = Source(raw)
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            await read_frame(source)
    assert source.largest <= MAX_MESSAGE_BYTES
