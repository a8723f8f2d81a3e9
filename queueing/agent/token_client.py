"""The agent's socket for programs that make one signature: a few PKCS#11 calls, one after another.

Imported by programs that start for each file: it must never import asyncio, msgspec, cryptography or ``queueing.client``.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Self, TypeVar
from urllib.parse import unquote_to_bytes

from queueing.agent.cryptoki import Attribute, Mechanism, Rv
from queueing.agent.rpc.calls import HANDSHAKE, Call
from queueing.agent.rpc.fields import CallFailed, FieldReader, FieldWriter
from queueing.agent.rpc.frames import frame

ADDRESS_VARIABLE: Final = "P11_KIT_SERVER_ADDRESS"
"""Variable with the agent's address, as `sigmill run` sets it and `sigmill agent` prints it."""

DIGEST_INFO: Final = {
    # RFC 8017 9.2, note 1
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""Bytes before a digest in the data of CKM_RSA_PKCS, by hashlib name."""

_HEADER: Final = struct.Struct(">III")
_SLOT: Final = 1
_SERIAL_SESSION: Final = 0x4
_ROOM_BYTES: Final = 1024
"""The longest signature has 512 bytes (RSA-4096)."""

_MOST_ANSWER_BYTES: Final = 1 << 20
"""Longest answer that is believed: a certificate has a few thousand bytes."""

_REQUESTS: Final = {
    Call.INITIALIZE: b"ayyay",
    Call.OPEN_SESSION: b"uu",
    Call.FIND_OBJECTS_INIT: b"uaA",
    Call.FIND_OBJECTS: b"ufu",
    Call.FIND_OBJECTS_FINAL: b"u",
    Call.GET_ATTRIBUTE_VALUE: b"uufA",
    Call.SIGN_INIT: b"uMu",
    Call.SIGN: b"uayfy",
    Call.FAILURE_REASON: b"",
}


_Value = TypeVar("_Value")


class TokenRefused(Exception):
    """The agent cannot be reached, or answers with an error: ``rv`` is its return value, ``code`` the reason's code."""

    def __init__(self, message: str, *, rv: int = Rv.GENERAL_ERROR, code: str = "") -> None:
        super().__init__(message)
        self.rv = rv
        self.code = code


class TokenTimeout(TokenRefused):
    """The agent did not answer before the time that the program has."""


class FailureReason(NamedTuple):
    """Reason of a failed call: the code of `sigmill explain`, and a sentence."""

    code: str
    message: str


class TokenClient:
    """A connection to the agent at ``address``; raises ``TokenRefused``.

    ``timeout_s``: time for each answer; None waits as long as the agent does.
    """

    def __init__(self, address: str, *, timeout_s: float | None = None) -> None:
        kind, _, path = address.partition("unix:path=")
        if kind or not path:
            raise TokenRefused(f"{ADDRESS_VARIABLE} is no address of an agent: use `sigmill run`")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._failed = 0
        try:
            self._start(unquote_to_bytes(path))
        except BaseException:
            self._socket.close()
            raise

    def _start(self, path: bytes) -> None:
        try:
            self._socket.connect(path)
            self._socket.sendall(b"\0")
            self._receive(1)
        except OSError as error:
            raise _unreachable(error) from None
        started = FieldWriter()
        started.byte_array(HANDSHAKE, len(HANDSHAKE))
        started.byte(0)
        started.byte_array(b"\0", 1)
        self._call(Call.INITIALIZE, started.raw())
        self._session = self._call(Call.OPEN_SESSION, _ulongs(_SLOT, _SERIAL_SESSION)).ulong()

    @classmethod
    def from_environment(cls, *, timeout_s: float | None = None) -> Self:
        """The agent of ``P11_KIT_SERVER_ADDRESS``; raises ``TokenRefused``."""
        return cls(os.environ.get(ADDRESS_VARIABLE, ""), timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def find(self, template: Mapping[Attribute, int | bytes], *, most: int = 1) -> list[int]:
        """Handles of at most ``most`` objects that have these attributes. Raises ``TokenRefused``."""
        asked = FieldWriter()
        asked.ulong(self._session)
        asked.u32(len(template))
        for kind, value in template.items():
            asked.u32(kind)
            asked.byte(1)
            if isinstance(value, bytes):
                asked.u32(len(value))
                asked.array(value)
            else:
                asked.u32(8)
                asked.ulong(value)
        self._call(Call.FIND_OBJECTS_INIT, asked.raw())
        found = self._call(Call.FIND_OBJECTS, _ulongs(self._session) + struct.pack(">I", most))
        self._call(Call.FIND_OBJECTS_FINAL, _ulongs(self._session))
        return _read(found, _handles)

    def values(self, handle: int, *attributes: Attribute) -> list[bytes]:
        """Values of attributes that are bytes; empty where the object has none. Raises ``TokenRefused``."""
        wanted = struct.pack(">I", len(attributes))
        wanted += b"".join(struct.pack(">II", each, _MOST_ANSWER_BYTES) for each in attributes)
        answer = self._call(Call.GET_ATTRIBUTE_VALUE, _ulongs(self._session, handle) + wanted)
        found = _read(answer, _bytes_values)
        if len(found) != len(attributes):
            raise TokenRefused("the answer is not an agent's: it has other attributes")
        return found

    def sign(self, handle: int, mechanism: Mechanism, data: bytes, parameters: bytes = b"") -> bytes:
        """Sign ``data`` as C_Sign has it by a private key: ECDSA as r || s. Raises ``TokenRefused``."""
        begun = FieldWriter()
        begun.ulong(self._session)
        begun.u32(mechanism)
        self._call(Call.SIGN_INIT, begun.raw() + parameters + _ulongs(handle))
        asked = FieldWriter()
        asked.ulong(self._session)
        asked.byte_array(data, len(data))
        asked.u32(_ROOM_BYTES)
        return _read(self._call(Call.SIGN, asked.raw()), FieldReader.byte_array)

    def _call(self, call: Call, fields: bytes) -> FieldReader:
        answer = self._exchange(call, fields)
        if answer is not None:
            return answer
        rv, reason = self._failed, self._reason()
        if reason is None:
            raise TokenRefused(f"the agent refused it ({_name(rv)}); `sigmill run` prints the reason", rv=rv)
        raise TokenRefused(f"{reason.message} [{reason.code}]", rv=rv, code=reason.code)

    def _exchange(self, call: Call, fields: bytes) -> FieldReader | None:
        """Send a call; return the fields of its answer, or None, with the return value in ``_failed``."""
        message = FieldWriter()
        message.u32(call)
        message.array(_REQUESTS[call])
        try:
            self._socket.sendall(frame(1, message.raw() + fields))
            _, options_bytes, message_bytes = _HEADER.unpack(self._receive(_HEADER.size))
            if options_bytes + message_bytes > _MOST_ANSWER_BYTES:
                raise TokenRefused("the answer is not an agent's: it is too long")
            self._receive(options_bytes)
            answer = FieldReader(self._receive(message_bytes))
        except TimeoutError:
            raise TokenTimeout("the agent did not answer in time") from None
        except OSError as error:
            raise TokenRefused(f"the agent has ended: {error.strerror}") from None
        answered = _read(answer, _number)
        if answered == call:
            return answer
        self._failed = _read(answer, FieldReader.ulong)
        return None

    def _reason(self) -> FailureReason | None:
        """Reason of the call that has just failed; None where it has none, or the agent is older and cannot tell."""
        answer = self._exchange(Call.FAILURE_REASON, b"")
        if answer is None:
            return None
        code, message = (_read(answer, FieldReader.byte_array).decode("utf-8", "replace") for _ in range(2))
        return FailureReason(code, message) if code else None

    def _receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            part = self._socket.recv(count - len(received))
            if not part:
                raise TokenRefused("the agent has ended")
            received += part
        return received


def pss_parameters(hash_name: str) -> bytes:
    """CK_RSA_PKCS_PSS_PARAMS on the wire, with MGF1 of the same hash and a salt of its length."""
    mechanism, mgf, salt_bytes = {
        "sha256": (Mechanism.SHA256, 2, 32),
        "sha384": (Mechanism.SHA384, 3, 48),
        "sha512": (Mechanism.SHA512, 4, 64),
    }[hash_name]
    return _ulongs(mechanism, mgf, salt_bytes)


def _read(answer: FieldReader, field: Callable[[FieldReader], _Value]) -> _Value:
    try:
        return field(answer)
    except CallFailed:
        raise TokenRefused("the answer is not an agent's: it is cut") from None


def _number(answer: FieldReader) -> int:
    number = answer.u32()
    answer.array()
    return number


def _handles(answer: FieldReader) -> list[int]:
    answer.byte()
    return [answer.ulong() for _ in range(answer.u32())]


def _bytes_values(answer: FieldReader) -> list[bytes]:
    found = []
    for _ in range(answer.u32()):
        answer.u32()
        if not answer.byte():
            found.append(b"")
            continue
        answer.u32()
        found.append(answer.array())
    return found


def _ulongs(*values: int) -> bytes:
    writer = FieldWriter()
    writer.ulong(*values)
    return writer.raw()


def _unreachable(error: OSError) -> TokenRefused:
    if isinstance(error, TimeoutError):
        return TokenTimeout("the agent did not answer in time")
    return TokenRefused(f"the agent cannot be reached: {error.strerror}")


def _name(number: int) -> str:
    try:
        return f"CKR_{Rv(number).name}"
    except ValueError:
        return f"{number:#x}"
