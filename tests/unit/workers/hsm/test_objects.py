"""Attributes are read without trust in their form: a value that is none costs itself, never the search."""

from __future__ import annotations

import struct

import pytest
from pkcs11 import Attribute, KeyType

from workers.hsm.objects import TolerantMapper

MAPPER = TolerantMapper()


@pytest.mark.parametrize(
    "attribute, packed, value",
    [
        (Attribute.LABEL, b"release", "release"),
        (Attribute.LABEL, b"Stra\xdfe", "Stra\ufffde"),
        (Attribute.KEY_TYPE, struct.pack("@L", 3), KeyType.EC),
        (Attribute.KEY_TYPE, struct.pack("@L", 0x80000123), None),
        (Attribute.KEY_TYPE, b"\3", None),
        (Attribute.SIGN, b"\1", True),
        (Attribute.SIGN, b"\1\1", None),
        (Attribute.START_DATE, b"00000000", None),
        (Attribute.ALLOWED_MECHANISMS, struct.pack("@LL", 0x40, 0xD4321012), (0x40, 0xD4321012)),
        (Attribute.ALLOWED_MECHANISMS, b"\1\2\3", None),
        (Attribute.ALLOWED_MECHANISMS, b"", ()),
    ],
)
def test_a_value_is_read_or_is_none(attribute: Attribute, packed: bytes, value: object) -> None:
    assert MAPPER.unpack_attributes(attribute, packed) == value


@pytest.mark.parametrize(
    "attribute, value", [(Attribute.LABEL, "Straße"), (Attribute.ALLOWED_MECHANISMS, (1, 2))]
)
def test_what_is_written_is_read_again(attribute: Attribute, value: object) -> None:
    assert MAPPER.unpack_attributes(attribute, MAPPER.pack_attribute(attribute, value)) == value
