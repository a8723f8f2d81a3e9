"""Requests of plugins are read strictly: any other bytes are an error of one sentence."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.plugins.requests import MAX_REQUEST_BYTES, RequestInvalid, read_object, sentence, shown


@pytest.mark.parametrize(
    "raw, problem",
    [
        (b"", "no JSON"),
        (b'{"a": ', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"keyId": "release", "keyId": "nightly"}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": ' + b"1" * 5000 + b"}", "no JSON"),
        (b" " * (MAX_REQUEST_BYTES + 1), "more than"),
    ],
)
def test_what_is_no_object_is_told(raw: bytes, problem: str) -> None:
    """Cut, huge, nested or ambiguous: a sentence, and no trace of the parser."""
    with pytest.raises(RequestInvalid, match=problem):
        read_object(raw)


def test_fields_have_their_types() -> None:
    """The message names the field by its path; null is as good as missing, and unknown fields are not looked at."""
    fields = read_object('{"a": {"text": "x", "number": 5, "raw": "YQ==", "none": null, "more": []}}').object(
        "a"
    )
    assert (fields.text("text"), fields.number("number"), fields.raw("raw")) == ("x", 5, b"a")
    assert fields.text("none", default="d") == "d"
    assert not fields.has("none")
    for read, name, problem in (
        (fields.text, "number", "a.number is no text"),
        (fields.text, "none", "a.none is missing"),
        (fields.number, "text", "a.text is no whole number"),
        (fields.raw, "text", "a.text is no base64"),
        (fields.raw, "number", "a.number is no base64"),
        (fields.object, "more", "a.more is no object"),
    ):
        with pytest.raises(RequestInvalid, match=problem):
            read(name)
    with pytest.raises(RequestInvalid, match="no whole number"):
        read_object('{"a": true}').number("a")


def test_foreign_text_reaches_a_terminal_in_one_line_without_escapes() -> None:
    """cosign and notation print messages as they are."""
    assert shown("a\x1b[2J\n\u202eb" + "x" * 200) == "a\\x1b[2J\\n\\u202eb" + "x" * 72 + "…"
    assert sentence(RequestInvalid("a\nb\udcff")) == "a\\nb\\udcff"


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_an_object_or_a_sentence(raw: bytes | str) -> None:
    """Nothing else than `RequestInvalid` is raised."""
    with contextlib.suppress(RequestInvalid):
        read_object(raw)
