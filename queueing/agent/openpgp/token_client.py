"""The agent's socket for a program that makes one signature: a few PKCS#11 calls, one after another."""

from __future__ import annotations

import socket
import struct
from typing import Final, Self
from urllib.parse import unquote_to_bytes

from queueing.agent.cryptoki import Attribute, Mechanism, ObjectClass, Rv
from queueing.agent.openpgp.packets import RSA, PrimaryKey
from queueing.agent.rpc.calls import HANDSHAKE, Call
from queueing.agent.rpc.fields import FieldReader, FieldWriter
from queueing.agent.rpc.frames import frame

_HEADER: Final = struct.Struct(">III")
_SLOT: Final = 1
_SERIAL_SESSION: Final = 0x4
_ROOM_BYTES: Final = 1024
"""The longest signature has 512 bytes (RSA-4096)."""

_REQUESTS: Final = {
    Call.INITIALIZE: b"ayyay",
    Call.OPEN_SESSION: b"uu",
    Call.FIND_OBJECTS_INIT: b"uaA",
    Call.FIND_OBJECTS: b"ufu",
    Call.SIGN_INIT: b"uMu",
    Call.SIGN: b"uayfy",
}


class TokenRefused(Exception):
    """The agent cannot be reached, or answers with an error."""


class TokenClient:
    """A connection to the agent at ``address`` (P11_KIT_SERVER_ADDRESS); raises ``TokenRefused``."""

    def __init__(self, address: str) -> None:
        kind, _, path = address.partition("unix:path=")
        if kind or not path:
            raise TokenRefused("P11_KIT_SERVER_ADDRESS is no address of an agent: use `sigmill run`")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(unquote_to_bytes(path))
            self._socket.sendall(b"\0")
            self._receive(1)
        except OSError as error:
            raise TokenRefused(f"the agent cannot be reached: {error.strerror}") from None
        started = FieldWriter()
        started.byte_array(HANDSHAKE, len(HANDSHAKE))
        started.byte(0)
        started.byte_array(b"\0", 1)
        self._call(Call.INITIALIZE, started.raw())
        self._session = self._call(Call.OPEN_SESSION, _ulongs(_SLOT, _SERIAL_SESSION)).ulong()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def sign(self, key: PrimaryKey, digest: bytes, digest_info: bytes) -> bytes:
        """Sign by the private key that belongs to an OpenPGP key: ECDSA as r || s. Raises ``TokenRefused``."""
        is_rsa = key.algorithm == RSA
        handle = self._private_key(key)
        mechanism = Mechanism.RSA_PKCS if is_rsa else Mechanism.ECDSA
        begun = FieldWriter()
        begun.ulong(self._session)
        begun.u32(mechanism)
        begun.ulong(handle)
        self._call(Call.SIGN_INIT, begun.raw())
        asked = FieldWriter()
        data = digest_info if is_rsa else digest
        asked.ulong(self._session)
        asked.byte_array(data, len(data))
        asked.u32(_ROOM_BYTES)
        return self._call(Call.SIGN, asked.raw()).byte_array()

    def _private_key(self, key: PrimaryKey) -> int:
        if key.algorithm == RSA:
            part = (Attribute.MODULUS, key.numbers[0])
        else:
            point = key.numbers[1]
            head = bytes((0x04, len(point))) if len(point) < 0x80 else bytes((0x04, 0x81, len(point)))
            part = (Attribute.EC_POINT, head + point)
        asked = FieldWriter()
        asked.ulong(self._session)
        asked.u32(2)
        asked.u32(Attribute.CLASS)
        asked.byte(1)
        asked.u32(8)
        asked.ulong(ObjectClass.PRIVATE_KEY)
        asked.u32(part[0])
        asked.byte(1)
        asked.u32(len(part[1]))
        asked.array(part[1])
        self._call(Call.FIND_OBJECTS_INIT, asked.raw())
        found = self._call(Call.FIND_OBJECTS, _ulongs(self._session) + struct.pack(">I", 1))
        found.byte()
        if not found.u32():
            raise TokenRefused("the agent's token has no active key with the public key of the certificate")
        return found.ulong()

    def _call(self, call: Call, fields: bytes) -> FieldReader:
        message = FieldWriter()
        message.u32(call)
        message.array(_REQUESTS[call])
        try:
            self._socket.sendall(frame(1, message.raw() + fields))
            _, options_bytes, message_bytes = _HEADER.unpack(self._receive(_HEADER.size))
            self._receive(options_bytes)
            answer = FieldReader(self._receive(message_bytes))
        except OSError as error:
            raise TokenRefused(f"the agent has ended: {error.strerror}") from None
        if answer.u32() == call:
            answer.array()
            return answer
        answer.array()
        raise TokenRefused(
            f"the signature was refused ({_name(answer.ulong())}); `sigmill run` prints the reason"
        )

    def _receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            part = self._socket.recv(count - len(received))
            if not part:
                raise TokenRefused("the agent has ended")
            received += part
        return received


def _ulongs(*values: int) -> bytes:
    writer = FieldWriter()
    writer.ulong(*values)
    return writer.raw()


def _name(number: int) -> str:
    try:
        return f"CKR_{Rv(number).name}"
    except ValueError:
        return f"{number:#x}"
