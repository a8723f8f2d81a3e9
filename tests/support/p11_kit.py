"""p11-kit's client in Python: requests as ``p11-kit-client.so`` writes them, and its side of the socket."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from queueing.agent.cryptoki import Attribute, AttributeValue, Mechanism, ObjectClass, Rv
from queueing.agent.rpc.calls import HANDSHAKE, Call
from queueing.agent.rpc.fields import NO_BYTES, FieldReader, FieldWriter
from queueing.agent.rpc.frames import frame

REQUESTS = {
    Call.INITIALIZE: b"ayyay",
    Call.GET_SLOT_LIST: b"yfu",
    Call.GET_MECHANISM_LIST: b"ufu",
    Call.GET_MECHANISM_INFO: b"uu",
    Call.GET_TOKEN_INFO: b"u",
    Call.OPEN_SESSION: b"uu",
    Call.CLOSE_SESSION: b"u",
    Call.GET_SESSION_INFO: b"u",
    Call.LOGIN: b"uuay",
    Call.LOGOUT: b"u",
    Call.GET_ATTRIBUTE_VALUE: b"uufA",
    Call.FIND_OBJECTS_INIT: b"uaA",
    Call.FIND_OBJECTS: b"ufu",
    Call.FIND_OBJECTS_FINAL: b"u",
    Call.SIGN_INIT: b"uMu",
    Call.SIGN: b"uayfy",
    Call.SIGN_UPDATE: b"uay",
}


def request(call: int, fields: bytes = b"", signature: bytes | None = None) -> bytes:
    """A message; ``signature`` None: the right one."""
    writer = FieldWriter()
    writer.u32(call)
    writer.array(REQUESTS.get(Call(call), b"") if signature is None else signature)
    return writer.raw() + fields


def ulongs(*values: int) -> bytes:
    writer = FieldWriter()
    writer.ulong(*values)
    return writer.raw()


def byte_array(value: bytes) -> bytes:
    return b"\x01" + struct.pack(">I", len(value)) + value


def room(count: int) -> bytes:
    return struct.pack(">I", count)


def nested_templates(depth: int) -> bytes:
    """``aA``: a template in a template, and so on, with one attribute each (CKA_WRAP_TEMPLATE)."""
    inner = struct.pack(">I", 0)
    for _ in range(depth):
        inner = struct.pack(">II", 1, 0x40000211) + b"\x01" + struct.pack(">I", 24) + inner
    return inner


def template(values: dict[int, AttributeValue]) -> bytes:
    """``aA``."""
    writer = FieldWriter()
    writer.u32(len(values))
    for kind, value in values.items():
        writer.u32(kind)
        writer.byte(1)
        if isinstance(value, bool):
            writer.u32(1)
            writer.byte(value)
        elif isinstance(value, int):
            writer.u32(8)
            writer.ulong(value)
        else:
            writer.u32(len(value))
            writer.array(value)
    return writer.raw()


def wanted(*attributes: tuple[int, int]) -> bytes:
    """``fA``: pairs of type and room."""
    return struct.pack(">I", len(attributes)) + b"".join(struct.pack(">II", *each) for each in attributes)


INITIALIZE = request(Call.INITIALIZE, byte_array(HANDSHAKE) + b"\x00" + byte_array(b"\x00"))


class Failed(Exception):
    """A call that did not end with CKR_OK."""

    def __init__(self, rv: int) -> None:
        super().__init__(Rv(rv).name)
        self.rv = Rv(rv)


def fields_of(answer: bytes, call: int) -> FieldReader:
    """The fields of an answer to this call; raises ``Failed``."""
    reader = FieldReader(answer)
    answered = reader.u32()
    reader.array()
    if answered == 0:
        raise Failed(reader.ulong())
    assert answered == call
    return reader


Exchange = Callable[[bytes], Awaitable[bytes]]


class P11:
    """The calls that a tool makes, over an exchange of messages: ``Connection.answer``, or a socket."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.session = 0

    async def call(self, call: Call, fields: bytes = b"") -> FieldReader:
        return fields_of(await self._exchange(request(call, fields)), call)

    async def open(self) -> Self:
        fields_of(await self._exchange(INITIALIZE), Call.INITIALIZE)
        self.session = (await self.call(Call.OPEN_SESSION, ulongs(1, 4))).ulong()
        return self

    async def find(self, values: dict[int, AttributeValue]) -> list[int]:
        await self.call(Call.FIND_OBJECTS_INIT, ulongs(self.session) + template(values))
        found = await self.call(Call.FIND_OBJECTS, ulongs(self.session) + room(100))
        await self.call(Call.FIND_OBJECTS_FINAL, ulongs(self.session))
        assert found.byte() == 1
        return [found.ulong() for _ in range(found.u32())]

    async def private_key(self, name: str) -> int:
        (handle,) = await self.find(
            {Attribute.CLASS: ObjectClass.PRIVATE_KEY.value, Attribute.LABEL: name.encode()}
        )
        return handle

    async def get(self, handle: int, *attributes: tuple[int, int]) -> tuple[list[bytes | None], Rv]:
        """Raw values, None where the object has none, and the return value."""
        reader = await self.call(Call.GET_ATTRIBUTE_VALUE, ulongs(self.session, handle) + wanted(*attributes))
        values: list[bytes | None] = []
        assert reader.u32() == len(attributes)
        for kind, _ in attributes:
            assert reader.u32() == kind
            if not reader.byte():
                values.append(None)
                continue
            length = reader.u32()
            fixed = {1: 1, 8: 8}.get(length) if kind in (Attribute.CLASS, Attribute.SIGN) else None
            values.append(reader.take(fixed) if fixed else reader.array())
        return values, Rv(reader.ulong())

    async def sign_init(self, handle: int, mechanism: int, parameters: bytes | None = None) -> None:
        """``parameters`` None: as p11-kit up to 0.25 writes none."""
        raw = struct.pack(">I", NO_BYTES) if parameters is None else parameters
        fields = ulongs(self.session) + struct.pack(">I", mechanism) + raw + ulongs(handle)
        await self.call(Call.SIGN_INIT, fields)

    async def sign(self, data: bytes, room_bytes: int = 512) -> bytes | int:
        """The signature, or the length that it will have."""
        reader = await self.call(Call.SIGN, ulongs(self.session) + byte_array(data) + room(room_bytes))
        return reader.array() if reader.byte() else reader.u32()

    async def ecdsa(self, name: str, digest: bytes) -> bytes:
        """One signature, from the search for the key on."""
        await self.sign_init(await self.private_key(name), Mechanism.ECDSA)
        signature = await self.sign(digest)
        assert isinstance(signature, bytes)
        return signature


class Socket:
    """A connection to an agent, as ``p11-kit-client.so`` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._code = 0

    @classmethod
    async def connect(cls, path: Path) -> Self:
        made = cls(*await asyncio.open_unix_connection(str(path)))
        made.writer.write(b"\0")
        assert await made.reader.readexactly(1) == b"\0"
        return made

    async def exchange(self, message: bytes) -> bytes:
        self._code += 1
        self.writer.write(frame(self._code, message))
        code, answer = await self.receive()
        assert code == self._code
        return answer

    async def receive(self) -> tuple[int, bytes]:
        code, options, length = struct.unpack(">III", await self.reader.readexactly(12))
        assert options == 0
        return code, await self.reader.readexactly(length)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()
