"""Reading a lane's messages: whatever a lane sends, it is decoded within bounds or refused."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.protocol.jobs import WireError
from workers.lanes.protocol import (
    LaneFailure,
    Outcomes,
    Ready,
    Reloaded,
    SignedCanary,
    SignedDirectory,
    SliceOutcome,
)
from workers.lanes.supervisor.answer_reader import MOST_TEXT, AnswerInvalid, one_line, read_answer
from workers.state.token_claims import TokenProperties

SIGNED = SliceOutcome(None, 1, b"f" * 32, (b"signature",))
LONG = "line\n" * (1024 * 1024)
ESCAPE = "\x1b[2Jcleared\r\u2028\x9b1m"


def body(message: Any) -> bytes:
    return msgspec.msgpack.encode(message)


def nested(depth: int) -> bytes:
    """An answer with an unknown field of arrays within arrays."""
    text = msgspec.msgpack.encode
    error = b"\x82" + text("code") + text("hsm.fault") + text("z") + b"\x91" * depth + b"\xc0"
    item = b"\x95" + error + b"\x01" + b"\xc4\x00" + b"\x90" + b"\x80"
    return b"\x96" + text("Outcomes") + b"\x01\x91" + item + text(0.1) * 3


@pytest.mark.parametrize(
    "message",
    [
        Ready(1, 1, 1, "module", True, TokenProperties("m", "m", "s" * 65, "l", 1)),
        Ready(1, 1, 1, "module", True, TokenProperties("m", "m", "s", "l" * (1 << 20), 1)),
        Ready(1, 1, 1, "module", True, TokenProperties("m", "m", "s", "l", -1)),
        Outcomes(1, (SIGNED,), -1.0),
        Outcomes(1, (SIGNED,), 0.1, -1.0),
        Outcomes(1, (SIGNED,), 0.1, 0.1, -0.001),
        Outcomes(1, (SIGNED,), math.nan),
        Outcomes(1, (SIGNED,), 0.1, math.inf),
        Outcomes(1, (SIGNED,), 0.1, 0.1, 1e300),
        Outcomes(1, (SliceOutcome(None, -1, b"f" * 32, (b"s",)),), 0.1),
        Outcomes(1, (SliceOutcome(None, 2**63, b"f" * 32, (b"s",)),), 0.1),
        Outcomes(1, (SliceOutcome(None, 1, b"f" * 65, (b"s",)),), 0.1),
        Outcomes(1, (SliceOutcome(None, 1, b"f" * 32, (b"s" * 1025,)),), 0.1),
        Outcomes(1, (SliceOutcome(None, 1, b"f" * 32, (b"s",) * 1025),), 0.1),
        Outcomes(1, (SliceOutcome(WireError("hsm.fault"), 1, b"", (b"s",)),), 0.1),
        Outcomes(1, (SliceOutcome(WireError("x" * 65)),), 0.1),
        Outcomes(1, (SliceOutcome(WireError("hsm.fault", retry_after_s=math.nan)),), 0.1),
        Outcomes(1, (SliceOutcome(WireError("hsm.fault", retry_after_s=-1.0)),), 0.1),
        Ready(1, 0, 2, "module"),
        Ready(1, -4, 2, "module"),
        Ready(1, 2**40, 2, "module"),
        Ready(-1, 2, 2, "module"),
        Ready(1, 2, 2, "m" * 4097),
        Reloaded(1, -2, 0, ""),
        SignedDirectory(1, b"d" * (4 * 1024 * 1024 + 1)),
        SignedCanary(1, b"s" * 1025),
        LaneFailure("x" * 65, "", False),
        LaneFailure('CKR"} evil{', "", False),
        LaneFailure("CKR_OK\n", "", False),
        ["Unknown", 1, 2],
        {"not": "an array"},
        None,
    ],
    ids=lambda message: repr(message)[:60],
)
def test_a_value_out_of_range_is_refused(message: Any) -> None:
    """Negative, not finite, huge, doubled or unknown: the message as a whole is invalid."""
    with pytest.raises(AnswerInvalid):
        read_answer(body(message))


def test_a_deeply_nested_message_is_refused() -> None:
    """Its depth does not become a RecursionError of the worker."""
    with pytest.raises(AnswerInvalid, match="nested"):
        read_answer(nested(100_000))


@pytest.mark.parametrize("depth", [500, 1_000, 2_000, 10_000])
def test_a_nested_message_is_refused_or_read_without_its_unknown_field(depth: int) -> None:
    """Python's depth depends on its version: 3.13 reads 2,000 nested arrays, 3.11 does not."""
    with contextlib.suppress(AnswerInvalid):
        message = read_answer(nested(depth))
        assert isinstance(message, Outcomes)
        assert message.items[0].error == WireError("hsm.fault")


def test_a_long_error_text_is_cut_to_one_line() -> None:
    """5 MiB of text become a line of ``MOST_TEXT`` characters, in each kind of answer."""
    error = WireError("policy.denied", LONG)
    whole = read_answer(body(Outcomes(1, (SliceOutcome(error),), 0.1)))
    single = read_answer(body(Outcomes(1, (SliceOutcome(None, 1, b"f", (None,), {0: error}),), 0.1)))
    directory = read_answer(body(SignedDirectory(1, b"", error)))
    canary = read_answer(body(SignedCanary(1, b"", error)))
    reloaded = read_answer(body(Reloaded(1, 0, 0, LONG)))
    assert isinstance(whole, Outcomes)
    assert isinstance(single, Outcomes)
    assert isinstance(directory, SignedDirectory)
    assert isinstance(canary, SignedCanary)
    assert isinstance(reloaded, Reloaded)
    errors = [whole.items[0].error, single.items[0].errors[0], directory.error, canary.error]
    texts = [error.message for error in errors if error is not None] + [reloaded.problem]
    assert len(texts) == 5
    for text in texts:
        assert len(text) == MOST_TEXT
        assert "\n" not in text


def test_an_error_text_has_no_control_characters() -> None:
    """Escape sequences of a lane do not reach an operator's terminal."""
    assert one_line(ESCAPE) == " [2Jcleared 1m"


def test_ordinary_answers_pass_unchanged() -> None:
    """A refused digest keeps its code, its text and its time to retry."""
    error = WireError("limit.rate", "too fast", 1.5)
    message = Outcomes(1, (SIGNED, SliceOutcome(None, 1, b"f", (None,), {0: error})), 0.1, 0.2, 0.3)
    assert read_answer(body(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_invalid(raw: bytes) -> None:
    """No other exception passes the reader."""
    with contextlib.suppress(AnswerInvalid):
        read_answer(raw)
