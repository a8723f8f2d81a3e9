"""Requests name a call and its form; answers have the form of theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.cryptoki import Rv
from queueing.agent.rpc.calls import Call, answer_to, error_answer, read_request
from queueing.agent.rpc.fields import CallFailed, Malformed
from tests.support.p11_kit import Failed, fields_of, request, ulongs


def test_a_request_is_its_call_and_its_fields() -> None:
    """The reader stands at the first field."""
    call, reader = read_request(request(Call.CLOSE_SESSION, ulongs(7)))
    assert (call, reader.ulong()) == (Call.CLOSE_SESSION, 7)


@pytest.mark.parametrize("number", [0, 9, 20, 200, 2**32 - 1])
def test_a_function_that_the_token_does_not_have_is_told_so(number: int) -> None:
    """C_InitToken, C_CreateObject and whatever a later p11-kit adds: CKR_FUNCTION_NOT_SUPPORTED."""
    with pytest.raises(CallFailed) as failed:
        read_request(number.to_bytes(4, "big") + b"\x00\x00\x00\x01u")
    assert failed.value.rv is Rv.FUNCTION_NOT_SUPPORTED


def test_another_form_than_the_calls_is_malformed() -> None:
    """A client of another protocol version is not guessed at."""
    with pytest.raises(Malformed):
        read_request(request(Call.SIGN, signature=b"uayfyu"))


@given(st.binary(max_size=64))
def test_any_bytes_are_a_request_or_an_error(raw: bytes) -> None:
    """No other exception than ``CallFailed`` leaves the reader."""
    try:
        read_request(raw)
    except CallFailed:
        return


def test_an_error_is_call_zero_with_the_return_value() -> None:
    """p11-kit's client raises it as the return value of its own call."""
    with pytest.raises(Failed) as failed:
        fields_of(error_answer(Rv.DATA_INVALID), Call.SIGN)
    assert failed.value.rv is Rv.DATA_INVALID


def test_an_answer_is_that_of_its_call() -> None:
    """The client compares number and form."""
    writer = answer_to(Call.OPEN_SESSION)
    writer.ulong(3)
    assert writer.raw() == b"\x00\x00\x00\x0a" + b"\x00\x00\x00\x01u" + ulongs(3)
