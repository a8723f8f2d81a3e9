"""Our programs read the agent's answers, and refuse any others."""

from __future__ import annotations

import struct
from typing import Any, cast

import pytest

from queueing.agent.cryptoki import Attribute, Rv
from queueing.agent.rpc.calls import Call
from queueing.agent.rpc.fields import FieldWriter
from queueing.agent.rpc.frames import frame
from queueing.agent.token_client import TokenClient, TokenRefused, pss_parameters


class Said:
    """A socket with answers; ``sent`` are the requests."""

    def __init__(self, answers: bytes) -> None:
        self.answers, self.sent = answers, b""
        self.received = 0

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, count: int) -> bytes:
        part = self.answers[self.received : self.received + min(count, 1000)]
        self.received += len(part)
        return part


def client(*answers: bytes) -> tuple[TokenClient, Said]:
    made, socket = TokenClient.__new__(TokenClient), Said(b"".join(answers))
    made._socket, made._failed, made._session = cast("Any", socket), 0, 1
    return made, socket


def answer(call: int, fields: bytes = b"") -> bytes:
    return frame(1, struct.pack(">II", call, 0) + fields)


def failed(rv: Rv) -> bytes:
    return answer(0, struct.pack(">Q", rv))


def reason(code: str, message: str) -> bytes:
    fields = FieldWriter()
    for text in (code, message):
        fields.byte_array(text.encode(), len(text.encode()))
    return answer(Call.FAILURE_REASON, fields.raw())


def test_the_agents_reason_is_the_message() -> None:
    """With its code, and the return value for programs that tell failures apart."""
    token, _ = client(failed(Rv.FUNCTION_REJECTED), reason("policy.denied", "outside its hours"))
    with pytest.raises(TokenRefused, match=r"^outside its hours \[policy.denied\]$") as refused:
        token.find({Attribute.LABEL: b"release"})
    assert (refused.value.rv, refused.value.code) == (Rv.FUNCTION_REJECTED, "policy.denied")


@pytest.mark.parametrize("told", [failed(Rv.FUNCTION_NOT_SUPPORTED), reason("", "")])
def test_without_a_reason_the_return_value_is_named(told: bytes) -> None:
    """An older agent does not know the question."""
    token, _ = client(failed(Rv.DEVICE_ERROR), told)
    with pytest.raises(TokenRefused, match="CKR_DEVICE_ERROR"):
        token.find({Attribute.LABEL: b"release"})


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        b"\0" * 11,
        struct.pack(">III", 1, 0, 50),
        answer(Call.FIND_OBJECTS_INIT)[:-3],
        frame(1, b"\0\0"),
        answer(Call.FIND_OBJECTS_INIT) + answer(Call.FIND_OBJECTS, b"\x01\xff\xff\xff\xff"),
    ],
)
def test_cut_answers_are_told(answers: bytes) -> None:
    """The agent has ended, or something else listens there."""
    token, _ = client(answers, answer(Call.FIND_OBJECTS_FINAL))
    with pytest.raises(TokenRefused):
        token.find({Attribute.LABEL: b"release"})


def test_an_answer_that_is_announced_too_long_is_not_received() -> None:
    """Four GiB of memory for a program that signs one file."""
    token, socket = client(struct.pack(">III", 1, 0, 2**32 - 1) + bytes(5_000_000))
    with pytest.raises(TokenRefused, match="too long"):
        token.find({Attribute.LABEL: b"release"})
    assert socket.received == 12


def test_an_answer_with_other_attributes_is_told() -> None:
    """Four were asked for, none came."""
    token, _ = client(answer(Call.GET_ATTRIBUTE_VALUE, struct.pack(">I", 0)))
    with pytest.raises(TokenRefused, match="other attributes"):
        token.values(1, Attribute.ID, Attribute.VALUE)


def test_pss_parameters_are_three_numbers() -> None:
    """CK_RSA_PKCS_PSS_PARAMS: hash, mask, salt of the hash's length."""
    assert struct.unpack(">QQQ", pss_parameters("sha384")) == (0x260, 3, 48)


class NoAgent:
    """A socket at which no agent answers."""

    closed = False

    def settimeout(self, timeout_s: float | None) -> None:
        """It does not wait."""

    def connect(self, path: bytes) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    def close(self) -> None:
        self.closed = True


def test_a_connection_that_fails_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller has no client yet that it could close."""
    no_agent = NoAgent()
    monkeypatch.setattr("queueing.agent.token_client.socket.socket", lambda *_: no_agent)
    with pytest.raises(TokenRefused):
        TokenClient("unix:path=/run/none")
    assert no_agent.closed
