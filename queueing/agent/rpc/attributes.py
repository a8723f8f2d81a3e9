"""Attributes in p11-kit's RPC messages: templates, requests for values, and their answers.

An attribute is type, validity, length and value; the form of a value depends on its type (p11-kit ``rpc-message.c``,
``map_attribute_to_value_type``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from queueing.agent.cryptoki import SECRET_ATTRIBUTES, Attribute, AttributeValue, ObjectClass, Rv
from queueing.agent.rpc.fields import FieldReader, FieldWriter, Malformed

MAX_ATTRIBUTES: Final = 256
"""Attributes of one message. PKCS#11 3.1 has 130, and no tool asks for more than 20 at once."""

MAX_DEPTH: Final = 8
"""Depth of templates in templates; p11-kit's P11_RPC_MAX_RECURSION_DEPTH."""

_BOOLEANS: Final = frozenset(
    # CK_BBOOL attributes of PKCS#11 3.1, and CKA_SECONDARY_AUTH, CKA_RESET_ON_INIT, CKA_HAS_RESET, CKA_COLOR
    {0x01, 0x02, 0x86, *range(0x103, 0x10D), 0x162, 0x163, 0x164, 0x165, 0x170, 0x171, 0x200, 0x202}
    | {0x210, 0x301, 0x302, 0x406}
)
_ULONGS: Final = frozenset(
    # CK_ULONG attributes, from CKA_CLASS to CKA_MECHANISM_TYPE
    {0x00, 0x80, 0x87, 0x88, 0x100, 0x121, 0x133, 0x134, 0x160, 0x161, 0x166, 0x201, 0x300}
    | {0x400, 0x401, 0x402, 0x403, 0x404, 0x405, 0x500}
)
_TEMPLATES: Final = frozenset({0x40000211, 0x40000212, 0x40000213})
"""CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE."""

_ALLOWED_MECHANISMS: Final = 0x40000600


class WantedAttribute(NamedTuple):
    """An attribute that a caller asks for. ``room_bytes`` 0: only its length."""

    type: int
    room_bytes: int


def read_template(reader: FieldReader) -> list[tuple[int, AttributeValue | None]]:
    """``aA``: types and values to search for; None is a value that nothing has. Raises ``Malformed``."""
    return _template(reader, depth=0)


def _template(reader: FieldReader, depth: int) -> list[tuple[int, AttributeValue | None]]:
    if depth > MAX_DEPTH:
        raise Malformed
    return [_attribute(reader, depth) for _ in range(_count(reader))]


def _attribute(reader: FieldReader, depth: int) -> tuple[int, AttributeValue | None]:
    kind = reader.u32()
    if not reader.byte():
        return kind, None
    reader.u32()  # the length that the value has in the caller's memory
    if kind in _BOOLEANS:
        return kind, bool(reader.byte())
    if kind in _ULONGS:
        return kind, reader.ulong()
    if kind in _TEMPLATES:
        _template(reader, depth + 1)
        return kind, None
    if kind == _ALLOWED_MECHANISMS:
        for _ in range(_count(reader)):
            reader.ulong()
        return kind, None
    return kind, reader.array()


def read_wanted(reader: FieldReader) -> list[WantedAttribute]:
    """``fA``: attributes whose values are asked for; raises ``Malformed``."""
    return _wanted(reader, depth=0)


def _wanted(reader: FieldReader, depth: int) -> list[WantedAttribute]:
    if depth > MAX_DEPTH:
        raise Malformed
    wanted = []
    for _ in range(_count(reader)):
        attribute = WantedAttribute(reader.u32(), reader.u32())
        if attribute.type in _TEMPLATES and attribute.room_bytes:
            _wanted(reader, depth + 1)
        wanted.append(attribute)
    return wanted


def _count(reader: FieldReader) -> int:
    count = reader.u32()
    if count > MAX_ATTRIBUTES:
        raise Malformed
    return count


def write_values(
    writer: FieldWriter, wanted: Sequence[WantedAttribute], attributes: Mapping[int, AttributeValue]
) -> None:
    """``aAu``: the wanted attributes of one object in the caller's order, and the return value of the call.

    As C_GetAttributeValue has it, an attribute that the object does not have costs the others nothing.
    """
    rv = Rv.OK
    writer.u32(len(wanted))
    for kind, room_bytes in wanted:
        writer.u32(kind)
        value = attributes.get(kind)
        if value is None:
            writer.byte(0)
            rv = _missing(kind, attributes)
            continue
        writer.byte(1)
        length = _write_value(writer, value)
        if 0 < room_bytes < length:
            rv = Rv.BUFFER_TOO_SMALL
    writer.ulong(rv)


def _missing(kind: int, attributes: Mapping[int, AttributeValue]) -> Rv:
    is_private_key = attributes.get(Attribute.CLASS) == ObjectClass.PRIVATE_KEY
    return (
        Rv.ATTRIBUTE_SENSITIVE if is_private_key and kind in SECRET_ATTRIBUTES else Rv.ATTRIBUTE_TYPE_INVALID
    )


def _write_value(writer: FieldWriter, value: AttributeValue) -> int:
    """Write length and value; return the length."""
    match value:
        case bool():
            writer.u32(1)
            writer.byte(value)
            return 1
        case int():
            writer.u32(8)
            writer.ulong(value)
            return 8
        case bytes():
            writer.u32(len(value))
            writer.array(value)
            return len(value)
