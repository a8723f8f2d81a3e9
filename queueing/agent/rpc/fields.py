"""Fields of p11-kit's RPC messages: integers, byte arrays and buffers, read from and written to bytes.

Integers are big-endian. Source: p11-kit 0.24.1 to 0.26.4, ``p11-kit/rpc-message.c``; the letters are those of its signatures.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from queueing.agent.cryptoki import Rv

NO_BYTES: Final = 0xFFFFFFFF
"""Length of a byte array that is NULL, and room of a buffer that is there but has no room."""

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


class CallFailed(Exception):
    """A call ends with a return value that is not CKR_OK."""

    def __init__(self, rv: Rv) -> None:
        super().__init__(rv.name)
        self.rv = rv


class Malformed(CallFailed):
    """A message that does not have the form of its call; p11-kit's own server answers CKR_DEVICE_ERROR, too."""

    def __init__(self) -> None:
        super().__init__(Rv.DEVICE_ERROR)


class FieldReader:
    """Reader of a message's fields, in order. Each method raises ``Malformed`` where the message ends too early."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def left_bytes(self) -> int:
        """Number of bytes that were not read."""
        return len(self._raw) - self._at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count > self.left_bytes:
            raise Malformed
        self._at += count
        return self._raw[self._at - count : self._at]

    def byte(self) -> int:
        """``y``: CK_BYTE."""
        return self.take(1)[0]

    def u32(self) -> int:
        """A count or a length."""
        return int(_U32.unpack(self.take(4))[0])

    def ulong(self) -> int:
        """``u``: CK_ULONG."""
        return int(_U64.unpack(self.take(8))[0])

    def array(self) -> bytes:
        """Bytes after their length; empty for NULL."""
        length = self.u32()
        return b"" if length == NO_BYTES else self.take(length)

    def byte_array(self) -> bytes:
        """``ay``: bytes; empty where only a length was sent."""
        if self.byte():
            return self.array()
        self.u32()
        return b""

    def room(self) -> int:
        """``fy`` and ``fu``: number of items that the caller has room for; 0 where it only asks how many there are."""
        count = self.u32()
        return 0 if count == NO_BYTES else count

    def end(self) -> None:
        """Raise ``Malformed`` unless everything was read."""
        if self.left_bytes:
            raise Malformed


class FieldWriter:
    """Writer of an answer's fields, in order."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def raw(self) -> bytes:
        """Everything written so far."""
        return b"".join(self._parts)

    def byte(self, value: int) -> None:
        """``y``: CK_BYTE."""
        self._parts.append(bytes((value,)))

    def u32(self, value: int) -> None:
        """A count or a length."""
        self._parts.append(_U32.pack(value))

    def ulong(self, *values: int) -> None:
        """``u``: CK_ULONG, once for each value."""
        self._parts.extend(_U64.pack(value) for value in values)

    def array(self, value: bytes) -> None:
        """Bytes after their length."""
        self._parts += (_U32.pack(len(value)), value)

    def version(self, major: int, minor: int) -> None:
        """``v``: CK_VERSION."""
        self._parts.append(bytes((major, minor)))

    def padded(self, text: str, size: int) -> None:
        """``s``: UTF-8 text of ``size`` bytes, cut between characters or padded with blanks."""
        raw = text.encode()[:size].decode(errors="ignore").encode()
        self.array(raw.ljust(size))

    def byte_array(self, value: bytes, room: int) -> None:
        """``ay``: the bytes, or only their length where the caller has too little room."""
        if len(value) > room:
            self.byte(0)
            self.u32(len(value))
        else:
            self.byte(1)
            self.array(value)

    def ulong_array(self, values: Sequence[int], room: int) -> None:
        """``au``: the values, or only their number where the caller has too little room."""
        fits = len(values) <= room
        self.byte(fits)
        self.u32(len(values))
        if fits:
            self.ulong(*values)
