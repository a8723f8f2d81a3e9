"""Fields are read and written as p11-kit does, and a message that ends too early is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.rpc.fields import FieldReader, FieldWriter, Malformed

READS = (
    FieldReader.byte,
    FieldReader.u32,
    FieldReader.ulong,
    FieldReader.array,
    FieldReader.byte_array,
    FieldReader.room,
)


@given(st.binary(max_size=200), st.lists(st.sampled_from(READS), max_size=20))
def test_any_bytes_are_read_or_malformed(raw: bytes, reads: list) -> None:  # type: ignore[type-arg]
    """A read returns a value or raises ``Malformed``, and never reads beyond the end."""
    reader = FieldReader(raw)
    for read in reads:
        try:
            read(reader)
        except Malformed:
            break
    assert 0 <= reader.left_bytes <= len(raw)


@given(st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=99))
def test_what_is_written_is_read(byte: int, count: int, number: int, value: bytes) -> None:
    """Reader and writer agree on bytes, numbers and arrays."""
    writer = FieldWriter()
    writer.byte(byte)
    writer.u32(count)
    writer.ulong(number)
    writer.array(value)
    writer.byte_array(value, room=99)
    reader = FieldReader(writer.raw())
    assert (reader.byte(), reader.u32(), reader.ulong()) == (byte, count, number)
    assert (reader.array(), reader.byte_array()) == (value, value)
    reader.end()


def test_an_array_that_announces_more_than_there_is_is_malformed() -> None:
    """A length is not believed: 4 GiB are announced, and nothing is reserved for them."""
    with pytest.raises(Malformed):
        FieldReader(b"\xff\xff\xff\xfe1234").array()


def test_a_null_array_is_empty() -> None:
    """p11-kit writes NULL as the length 2**32 - 1."""
    assert FieldReader(b"\xff\xff\xff\xff").array() == b""


def test_room_that_is_there_but_empty_is_none() -> None:
    """A buffer of no bytes, which p11-kit 0.25 marks, has room for nothing."""
    assert FieldReader(b"\xff\xff\xff\xff").room() == 0


def test_too_little_room_gets_the_length_alone() -> None:
    """CKR_BUFFER_TOO_SMALL is no error of the protocol: the answer has the length, and no bytes."""
    writer = FieldWriter()
    writer.byte_array(b"12345", room=4)
    writer.ulong_array((7, 8), room=1)
    assert writer.raw() == b"\x00\x00\x00\x00\x05\x00\x00\x00\x00\x02"


def test_padded_text_is_cut_between_characters() -> None:
    """A name in UTF-8 fills its field exactly, whatever its characters' lengths."""
    writer = FieldWriter()
    writer.padded("aé", 2)
    writer.padded("a", 3)
    assert writer.raw() == b"\x00\x00\x00\x02a \x00\x00\x00\x03a  "
