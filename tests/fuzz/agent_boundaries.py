"""Boundaries of a build host's agent and of the programs that use it; ``boundaries`` has them in its list."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any, Final, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric import ec

from queueing.agent.connection import Connection
from queueing.agent.cryptoki import Attribute, Mechanism
from queueing.agent.openpgp.armor import armored, unarmored
from queueing.agent.openpgp.packets import (
    PUBLIC_KEY,
    USER_ID,
    NotOpenPgp,
    ecdsa_key,
    packet,
    read_certificate,
    rsa_key,
)
from queueing.agent.plugins.keys import PluginKey
from queueing.agent.plugins.requests import RequestInvalid, shown
from queueing.agent.plugins.sigstore import Request
from queueing.agent.rpc.calls import Call
from queueing.agent.rpc.fields import FieldReader, FieldWriter
from queueing.agent.rpc.frames import MAX_MESSAGE_BYTES, frame, read_frame
from queueing.agent.token import Token
from queueing.agent.token_client import TokenClient, TokenRefused
from queueing.agent.token_objects import TokenKey, objects_of
from queueing.client.signatures import Signature
from queueing.errors import SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import spki_of
from tests.support.p11_kit import INITIALIZE, byte_array, request, room, template, ulongs, wanted

_Value = TypeVar("_Value")

P256: Final = PublicKey.from_spki(spki_of(ec.derive_private_key(5, ec.SECP256R1())))
RSA_MODULUS: Final = b"\xc1" + bytes(254) + b"\x05"


def _finished(running: Coroutine[Any, Any, _Value]) -> _Value:
    """The result of a coroutine that waits for nothing: no event loop is needed."""
    try:
        running.send(None)
    except StopIteration as done:
        return cast("_Value", done.value)
    raise AssertionError("it waits")


class _Bytes:
    """A stream of bytes that ends (``queueing.agent.rpc.frames.ByteSource``)."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    @property
    def has_ended(self) -> bool:
        return self._source.tell() == len(self._source.getbuffer())

    async def readexactly(self, n: int) -> bytes:
        part = self._source.read(n)
        if len(part) < n:
            raise asyncio.IncompleteReadError(part, n)
        return part


class _Tokens:
    def __init__(self) -> None:
        handles = count(1)
        key = TokenKey(name="release", spec="release/1", public_key=P256, algorithms=(), certificates=())
        self._token = Token({next(handles): found for found in objects_of(key)}, (Mechanism.ECDSA,))

    async def current(self) -> Token:
        return self._token


class _Signer:
    async def sign(self, key: str, algorithm: Algorithm, digest: bytes) -> Signature:
        assert (key, algorithm, len(digest)) == ("release/1", Algorithm.ECDSA_SHA_256, 32)
        return Signature(
            signature=bytes.fromhex("3006020101020101"),
            algorithm=algorithm,
            key=key,
            key_version=1,
            public_key_sha256=b"",
            job_id="",
            verified=True,
        )

    def report(self, key: str, error: SigningError) -> None:
        assert error.reason


_TOKENS: Final = _Tokens()


def agent_stream(data: bytes) -> None:
    """Everything that a connection sends after its first byte: each frame gets one answer, and the agent continues."""
    connection, source = Connection(_TOKENS, _Signer(), "acme"), _Bytes(data)
    with suppress(asyncio.IncompleteReadError):
        while not source.has_ended:
            message = _finished(read_frame(source)).message
            if message is None:
                continue
            assert len(message) <= MAX_MESSAGE_BYTES
            answer = FieldReader(_finished(connection.answer(message)))
            assert answer.u32() in (0, *Call)


class _Socket:
    """A socket on which something else than an agent answers."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def sendall(self, _: bytes) -> None:
        """Take it."""

    def recv(self, count: int) -> bytes:
        return self._source.read(count)


def agent_answers(data: bytes) -> None:
    """Bytes of a socket for `sigmill-gpg` and the plugins."""
    client = TokenClient.__new__(TokenClient)
    client._socket, client._failed, client._session = cast("Any", _Socket(data)), 0, 1
    with suppress(TokenRefused, RequestInvalid):
        key = PluginKey(client, "release")
        assert key.kind.bits
        assert all(isinstance(each, bytes) for each in key.certificates())


def plugin_request(data: bytes) -> None:
    """The words that cosign gives its plugin."""
    with suppress(RequestInvalid):
        read = Request.read(["v1", data.decode("utf-8", "surrogateescape")])
        assert read.hash_name(read.fields)
        assert shown(read.key).isprintable()


def pgp_certificate(data: bytes) -> None:
    """A certificate of `sigmill run --pgp KEY=FILE`."""
    with suppress(NotOpenPgp):
        key, user_ids = read_certificate(unarmored(data))
        assert len(key.fingerprint) == 20
        assert all(isinstance(each, str) for each in user_ids)


def _tool() -> bytes:
    """The messages of a tool from its start to its signature."""
    messages = [
        INITIALIZE,
        request(Call.OPEN_SESSION, ulongs(1, 4)),
        request(
            Call.FIND_OBJECTS_INIT, ulongs(1) + template({Attribute.LABEL: b"release", Attribute.TOKEN: True})
        ),
        request(Call.FIND_OBJECTS, ulongs(1) + room(9)),
        request(Call.FIND_OBJECTS_FINAL, ulongs(1)),
        request(Call.GET_ATTRIBUTE_VALUE, ulongs(1, 1) + wanted((Attribute.LABEL, 99), (Attribute.ID, 0))),
        request(Call.SIGN_INIT, ulongs(1) + struct.pack(">I", Mechanism.ECDSA) + ulongs(1)),
        request(Call.SIGN, ulongs(1) + byte_array(hashlib.sha256(b"").digest()) + room(64)),
        request(Call.CLOSE_SESSION, ulongs(1)),
    ]
    return b"".join(frame(number, message) for number, message in enumerate(messages))


def _agent() -> bytes:
    """The answers of an agent to a plugin that looks for its key, and finds no certificate."""
    none = FieldWriter()
    none.ulong_array((), 1)
    found = FieldWriter()
    found.ulong_array((1,), 1)
    values = FieldWriter()
    values.u32(4)
    for kind, value in (
        (Attribute.ID, b"release"),
        (Attribute.MODULUS, None),
        (Attribute.EC_PARAMS, bytes.fromhex("06082a8648ce3d030107")),
        (Attribute.PUBLIC_KEY_INFO, P256.spki),
    ):
        values.u32(kind)
        values.byte(value is not None)
        if value is not None:
            values.u32(len(value))
            values.array(value)
    values.ulong(0)
    search = (Call.FIND_OBJECTS_INIT, b""), (Call.FIND_OBJECTS, found.raw()), (Call.FIND_OBJECTS_FINAL, b"")
    empty = (Call.FIND_OBJECTS_INIT, b""), (Call.FIND_OBJECTS, none.raw()), (Call.FIND_OBJECTS_FINAL, b"")
    said = [*search, (Call.GET_ATTRIBUTE_VALUE, values.raw()), *empty]
    return b"".join(frame(1, struct.pack(">II", call, 0) + fields) for call, fields in said)


def _cosign() -> bytes:
    options = {
        "protocolVersion": "v1",
        "keyResourceID": "release",
        "hashFunc": 5,
        "ctxDeadline": "2026-11-27T00:00:00Z",
    }
    signing = {"signOptions": {"rpcOptions": {"keyVersion": "2"}, "messageOptions": {"digest": "YQ=="}}}
    return json.dumps({"initOptions": options, "methodName": "signMessage", "signMessage": signing}).encode()


def _certificates() -> tuple[bytes, ...]:
    keys = (
        rsa_key(5, RSA_MODULUS, b"\x01\x00\x01"),
        ecdsa_key(5, bytes.fromhex("2a8648ce3d030107"), b"\x04" + bytes(64)),
    )
    raw = [packet(PUBLIC_KEY, key.body) + packet(USER_ID, b"A <a@example.com>") for key in keys]
    return (*raw, armored("PUBLIC KEY BLOCK", raw[0]))


AGENT_BOUNDARIES: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "agent-answers": (agent_answers, (_agent(),)),
    "agent-stream": (agent_stream, (_tool(),)),
    "pgp-certificate": (pgp_certificate, _certificates()),
    "plugin-request": (plugin_request, (_cosign(),)),
}
"""Function and seeds of each."""
