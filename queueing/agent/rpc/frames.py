"""Frames of p11-kit's RPC protocol on a stream: a code, options and a message, with a cap on their length.

Header: three big-endian 32-bit numbers, code, length of the options, length of the message. An answer has the code of its
request, so answers may overtake each other (p11-kit ``rpc-transport.c``).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Protocol

MAX_MESSAGE_BYTES: Final = 65_536
"""Longest message that is read. A digest with its frame has about 150 bytes, a search by certificate a few thousand."""

_HEADER: Final = struct.Struct(">III")
_DISCARDED_AT_ONCE: Final = 65_536


class ByteSource(Protocol):
    """Stream of bytes (``asyncio.StreamReader``)."""

    async def readexactly(self, n: int) -> bytes:
        """The next ``n`` bytes; raises ``asyncio.IncompleteReadError``."""


class Frame(NamedTuple):
    """A request's code and message; None for a message that was longer than the cap, and was read and dropped."""

    code: int
    message: bytes | None


async def read_frame(source: ByteSource) -> Frame:
    """The next frame. What is too long costs no memory, and leaves the stream at the next frame.

    Raises ``asyncio.IncompleteReadError`` at the end of the stream.
    """
    code, options_bytes, message_bytes = _HEADER.unpack(await source.readexactly(_HEADER.size))
    await _discard(source, options_bytes)
    if message_bytes > MAX_MESSAGE_BYTES:
        await _discard(source, message_bytes)
        return Frame(code, None)
    return Frame(code, await source.readexactly(message_bytes))


async def _discard(source: ByteSource, count: int) -> None:
    while count:
        part = min(count, _DISCARDED_AT_ONCE)
        await source.readexactly(part)
        count -= part


def frame(code: int, message: bytes) -> bytes:
    """An answer's frame."""
    return _HEADER.pack(code, 0, len(message)) + message
