"""Attributes are read without trust in their form: a wrong one has no value, and ends no search."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType
from pkcs11.exceptions import DeviceError, PKCS11Error, TemplateInconsistent

from workers.hsm.faults import HsmFailure, translated
from workers.hsm.keys import read_optional_attributes
from workers.hsm.objects import TolerantMapper, attributes_of, objects, objects_if_searchable

if TYPE_CHECKING:
    from tests.unit.workers.hsm.conftest import FakeSearch

MAPPER = TolerantMapper()


@pytest.mark.parametrize(
    "attribute, packed, value",
    [
        (Attribute.LABEL, b"release", "release"),
        (Attribute.LABEL, b"Stra\xdfe", "Stra\ufffde"),
        (Attribute.LABEL, b"release \0\0", "release"),
        (Attribute.LABEL, b" \0", ""),
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


@pytest.mark.parametrize("error", [TemplateInconsistent(), DeviceError()])
def test_a_search_that_the_module_refuses_is_ended_at_once(
    search: type[FakeSearch], error: PKCS11Error
) -> None:
    """Otherwise python-pkcs11 ends it when it is collected, and prints a traceback into the worker's log."""
    search.refusal = error
    with pytest.raises(type(error)):
        objects(cast("pkcs11.Session", None), {})
    assert search.open_searches == 0


def test_a_template_that_the_module_refuses_finds_nothing(search: type[FakeSearch]) -> None:
    search.refusal = TemplateInconsistent()
    assert objects_if_searchable(cast("pkcs11.Session", None), {}) == []


class BoundlessObject:
    """Object whose label has a length that no memory holds, such as CK_UNAVAILABLE_INFORMATION in 32 bits."""

    def __getitem__(self, name: Attribute) -> object:
        if name is Attribute.LABEL:
            raise MemoryError
        return b"id"

    def get_attributes(self, names: list[Attribute]) -> dict[Attribute, object]:
        return {name: self[name] for name in names}


def test_an_attribute_of_boundless_length_is_not_shown_and_the_others_are() -> None:
    item = cast("pkcs11.Object", BoundlessObject())
    assert attributes_of(item, Attribute.LABEL, Attribute.ID) == {Attribute.ID: b"id"}
    assert read_optional_attributes(item, Attribute.LABEL, Attribute.ID) == {Attribute.ID: b"id"}


def test_a_boundless_length_elsewhere_is_a_failure_of_the_module() -> None:
    """python-pkcs11 reads the class of each object that it finds."""
    with pytest.raises(HsmFailure, match="MemoryError"), translated():
        raise MemoryError
