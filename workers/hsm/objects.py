"""Objects of a token: search, and attributes read without trust in their form.

Modules differ in the templates that they understand: YubiHSM 2 finds nothing by CKA_MODULUS or CKA_EC_POINT, NetHSM
ignores such attributes, so that every key matches, CloudHSM refuses some combinations. So callers search by few
attributes and compare the values that they read.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, ObjectClass, _pkcs11
from pkcs11.attributes import AttributeMapper
from pkcs11.exceptions import (
    ArgumentsBad,
    AttributeSensitive,
    AttributeTypeInvalid,
    AttributeValueInvalid,
    FunctionFailed,
    ObjectHandleInvalid,
    PKCS11Error,
    TemplateIncomplete,
    TemplateInconsistent,
)

from workers.hsm.faults import translate
from workers.state.token_claims import unpadded

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

NOT_SHOWN: Final = (AttributeTypeInvalid, AttributeSensitive, FunctionFailed, MemoryError)
"""Answers of modules for an attribute that they do not show; MemoryError: a length that no attribute has."""

_TEMPLATE_REFUSED: Final = (
    ArgumentsBad,
    AttributeTypeInvalid,
    AttributeValueInvalid,
    FunctionFailed,
    TemplateIncomplete,
    TemplateInconsistent,
)
_READINGS: Final = 3
_BATCH: Final = 10  # objects per call of C_FindObjects, as python-pkcs11's own searches
_MECHANISM_TYPE: Final = struct.Struct("@L")  # CK_MECHANISM_TYPE is an unsigned long


class TolerantMapper(AttributeMapper):
    """Attribute values as Python values; a value that cannot be read is None, text that is not UTF-8 has U+FFFD in it.

    Labels lose the blanks and NULs at their end: some modules fill CKA_LABEL up as the standard fills the label of a token.

    CKA_ALLOWED_MECHANISMS is a tuple of numbers, vendor-defined ones included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attribute_types[Attribute.LABEL] = (_encode_text, _decode_text)
        self.attribute_types[Attribute.ALLOWED_MECHANISMS] = (_encode_mechanisms, _decode_mechanisms)

    def unpack_attributes(self, key: Attribute, value: bytes) -> Any:
        """Python value of one attribute."""
        try:
            return super().unpack_attributes(key, value)
        except (ValueError, struct.error, NotImplementedError):
            return None


def _encode_text(text: str) -> bytes:
    return text.encode()


def _decode_text(text: bytes) -> str:
    return unpadded(text.decode(errors="replace"))


def _encode_mechanisms(mechanisms: tuple[int, ...]) -> bytes:
    return b"".join(map(_MECHANISM_TYPE.pack, mechanisms))


def _decode_mechanisms(packed: bytes) -> tuple[int, ...]:
    return tuple(number for (number,) in _MECHANISM_TYPE.iter_unpack(packed))


def attributes_of(item: pkcs11.Object, *wanted: Attribute) -> dict[Attribute, Any]:
    """Read the wanted attributes that the token shows; one call, or one for each where it cannot read several.

    Some modules return CKR_FUNCTION_FAILED for several, or for one that they do not have. Where nothing at all is shown
    the token has failed: ``HsmFailure``, since no key is to be refused for that.
    """
    try:
        shown = item.get_attributes(list(wanted))
    except NOT_SHOWN:
        return _one_by_one(item, wanted)
    return {name: value for name, value in shown.items() if value is not None}


def read_settled(read: Callable[[], T]) -> T:
    """Result of ``read``, which finds objects and reads them; again where another application destroyed one of them between the two."""
    for _ in range(_READINGS - 1):
        with suppress(ObjectHandleInvalid):
            return read()
    return read()


def objects(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[pkcs11.Object]:
    """Find all objects that match, each once; exhausts the search, so that the session is free for another."""
    found: dict[int | None, pkcs11.Object] = {}
    search: Any = _pkcs11.SearchIter(session, template, _BATCH)  # type: ignore[attr-defined]  # not in its stubs
    try:
        with search as batches:
            for item in chain.from_iterable(batches):
                found.setdefault(item.handle, item)
    except PKCS11Error:
        # python-pkcs11 0.10 ends a search that the module refused when it collects it, and prints a traceback for that.
        with suppress(PKCS11Error):
            search._finalize()  # noqa: SLF001 - there is no public way
        raise
    return list(found.values())


def objects_if_searchable(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[pkcs11.Object]:
    """Find all objects that match; none where the module refuses this template."""
    try:
        return objects(session, template)
    except _TEMPLATE_REFUSED:
        return []


def private_keys(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[pkcs11.PrivateKey]:
    """Find all private-key objects that match; none where the module refuses this template."""
    found = objects_if_searchable(session, {Attribute.CLASS: ObjectClass.PRIVATE_KEY, **template})
    return [item for item in found if isinstance(item, pkcs11.PrivateKey)]


def public_keys(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[pkcs11.Object]:
    """Find all public-key objects that match; none where the module refuses this template."""
    return objects_if_searchable(session, {Attribute.CLASS: ObjectClass.PUBLIC_KEY, **template})


def all_private_keys(session: pkcs11.Session) -> list[pkcs11.PrivateKey]:
    """Find all private-key objects. A search by class alone is one that every module understands."""
    found = objects(session, {Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    return [item for item in found if isinstance(item, pkcs11.PrivateKey)]


def all_public_keys(session: pkcs11.Session) -> list[pkcs11.Object]:
    """Find all public-key objects."""
    return objects(session, {Attribute.CLASS: ObjectClass.PUBLIC_KEY})


def _one_by_one(item: pkcs11.Object, wanted: tuple[Attribute, ...]) -> dict[Attribute, Any]:
    shown: dict[Attribute, Any] = {}
    failed: FunctionFailed | None = None
    for name in wanted:
        try:
            value = item[name]
        except FunctionFailed as error:
            failed = error
        except (AttributeTypeInvalid, AttributeSensitive, MemoryError):
            continue
        else:
            if value is not None:
                shown[name] = value
    if failed is not None and not shown:
        raise translate(failed) from failed
    return shown
