"""Attributes are read in the form of their type, with caps on number and depth."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.cryptoki import Attribute, AttributeValue, ObjectClass, Rv
from queueing.agent.rpc.attributes import (
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    WantedAttribute,
    read_template,
    read_wanted,
    write_values,
)
from queueing.agent.rpc.fields import FieldReader, FieldWriter, Malformed
from tests.support.p11_kit import nested_templates, template, wanted

WRAP_TEMPLATE = 0x40000211
PUBLIC: dict[int, AttributeValue] = {
    Attribute.CLASS: ObjectClass.PUBLIC_KEY.value,
    Attribute.LABEL: b"release",
    Attribute.TOKEN: True,
}
PRIVATE: dict[int, AttributeValue] = {
    Attribute.CLASS: ObjectClass.PRIVATE_KEY.value,
    Attribute.ID: b"release",
}


def test_a_template_has_booleans_numbers_and_bytes() -> None:
    """The form of a value is decided by its type."""
    assert dict(read_template(FieldReader(template(PUBLIC)))) == PUBLIC


def test_an_attribute_without_a_value_is_read_as_none() -> None:
    """It is marked as not valid in the template."""
    raw = struct.pack(">II", 1, Attribute.LABEL) + b"\x00"
    assert read_template(FieldReader(raw)) == [(Attribute.LABEL, None)]


def test_arrays_of_mechanisms_are_read_over() -> None:
    """pkcs11-tool knows CKA_ALLOWED_MECHANISMS: what comes behind it is still read."""
    raw = struct.pack(">II", 2, 0x40000600) + b"\x01" + struct.pack(">IIQ", 8, 1, 0x1041)
    raw += struct.pack(">I", Attribute.TOKEN) + b"\x01" + struct.pack(">I", 1) + b"\x01"
    assert read_template(FieldReader(raw)) == [(0x40000600, None), (Attribute.TOKEN, True)]


@pytest.mark.parametrize(
    "depth, readable", [(1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False), (500, False)]
)
def test_templates_in_templates_have_a_depth(depth: int, readable: bool) -> None:
    """p11-kit reads eight templates in each other; what is deeper costs no stack."""
    if readable:
        assert read_template(FieldReader(nested_templates(depth))) == [(WRAP_TEMPLATE, None)]
    else:
        with pytest.raises(Malformed):
            read_template(FieldReader(nested_templates(depth)))


@pytest.mark.parametrize("read", [read_template, read_wanted])
def test_more_attributes_than_the_cap_are_malformed(read: Callable[[FieldReader], object]) -> None:
    """The number is checked before any attribute is read: four thousand million cost nothing."""
    for count in (MAX_ATTRIBUTES + 1, 2**32 - 1):
        reader = FieldReader(struct.pack(">I", count) + bytes(100_000))
        with pytest.raises(Malformed):
            read(reader)
        assert reader.left_bytes == 100_000


@given(st.binary(max_size=300))
def test_any_bytes_are_attributes_or_malformed(raw: bytes) -> None:
    """No other exception leaves the readers."""
    for read in (read_template, read_wanted):
        try:
            read(FieldReader(raw))
        except Malformed:
            continue


def test_wanted_attributes_have_their_room() -> None:
    """A room of 0 asks for the length."""
    raw = wanted((Attribute.LABEL, 0), (Attribute.ID, 20))
    assert read_wanted(FieldReader(raw)) == [
        WantedAttribute(Attribute.LABEL, 0),
        WantedAttribute(Attribute.ID, 20),
    ]


@pytest.mark.parametrize(
    "attributes, kind, room_bytes, rv",
    [
        (PUBLIC, Attribute.LABEL, 7, Rv.OK),
        (PUBLIC, Attribute.LABEL, 0, Rv.OK),
        (PUBLIC, Attribute.LABEL, 6, Rv.BUFFER_TOO_SMALL),
        (PUBLIC, Attribute.MODULUS, 99, Rv.ATTRIBUTE_TYPE_INVALID),
        (PRIVATE, Attribute.PRIVATE_EXPONENT, 99, Rv.ATTRIBUTE_SENSITIVE),
        (PRIVATE, Attribute.LABEL, 99, Rv.ATTRIBUTE_TYPE_INVALID),
        (PUBLIC, Attribute.PRIVATE_EXPONENT, 99, Rv.ATTRIBUTE_TYPE_INVALID),
    ],
)
def test_each_value_has_its_own_answer(
    attributes: dict[int, AttributeValue], kind: int, room_bytes: int, rv: Rv
) -> None:
    """C_GetAttributeValue: what one attribute lacks is told at the end, after the values of all others."""
    writer = FieldWriter()
    write_values(writer, [WantedAttribute(kind, room_bytes), WantedAttribute(Attribute.CLASS, 8)], attributes)
    assert writer.raw().endswith(struct.pack(">Q", rv))
    assert struct.pack(">Q", attributes[Attribute.CLASS]) in writer.raw()
