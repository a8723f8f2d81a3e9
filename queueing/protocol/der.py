"""DER (X.690), as far as PKCS#11, PKCS#10, CMS and time-stamps need it: writing, and strict reading of one value after another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from queueing.protocol.algorithms import HASH_OIDS

INTEGER: Final = 0x02
BOOLEAN: Final = 0x01
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
UTF8_STRING: Final = 0x0C
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

SHORT_FORM: Final = 0x80
"""X.690 8.1.3: lengths below 128 take one byte, up to 255 two."""

_MOST_LENGTH_BYTES: Final = 4
_MOST_CHILDREN: Final = 1 << 16
"""Some hundred in any signature or certificate; a value of two bytes takes two hundred in memory."""


class DerInvalid(ValueError):
    """The bytes are not DER, or not of the structure that was expected."""


def tagged(tag: int, *contents: bytes) -> bytes:
    """One value: tag, length, contents."""
    body = b"".join(contents)
    if len(body) < SHORT_FORM:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, SHORT_FORM | len(length))) + length + body


def context(number: int, *contents: bytes, constructed: bool = True) -> bytes:
    """Value with the context-specific tag ``[number]``."""
    return tagged(0x80 | (0x20 if constructed else 0) | number, *contents)


def sequence(*contents: bytes) -> bytes:
    """SEQUENCE, or SEQUENCE OF in this order."""
    return tagged(SEQUENCE, *contents)


def set_of(items: Iterable[bytes]) -> bytes:
    """SET OF, in the order of X.690 11.6."""
    return tagged(SET, *sorted(items))


def integer(value: int) -> bytes:
    """INTEGER; certificates that others made may have a negative serial number."""
    size_bytes = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return tagged(INTEGER, value.to_bytes(size_bytes, "big", signed=True))


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER (X.690 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tagged(OID, b"".join(map(_base128, (first * 40 + second, *rest))))


def boolean(*, value: bool) -> bytes:
    """BOOLEAN (X.690 11.1)."""
    return tagged(BOOLEAN, b"\xff" if value else b"\0")


def bit_string(value: bytes) -> bytes:
    """BIT STRING of whole bytes."""
    return tagged(BIT_STRING, b"\0", value)


def octets(value: bytes) -> bytes:
    """OCTET STRING."""
    return tagged(OCTET_STRING, value)


def utf8(text: str) -> bytes:
    """UTF8String."""
    return tagged(UTF8_STRING, text.encode())


def time(moment: datetime) -> bytes:
    """Time of X.509 and CMS (RFC 5280 4.1.2.5): UTCTime until 2049, then GeneralizedTime; whole seconds."""
    moment = moment.astimezone(UTC)
    if moment.year < 2050:
        return tagged(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tagged(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def null() -> bytes:
    """NULL."""
    return bytes((NULL, 0))


def digest_info_prefix(hash_name: str) -> bytes:
    """Bytes before a digest in its DigestInfo; CKM_RSA_PKCS adds the padding and nothing else.

    RFC 8017 9.2, note 1: SEQUENCE { SEQUENCE { OID of the hash, NULL }, OCTET STRING header }.
    """
    blank = bytes(hashlib.new(hash_name).digest_size)
    return sequence(sequence(oid(HASH_OIDS[hash_name]), null()), octets(blank))[: -len(blank)]


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | (number & 0x7F))
    return bytes(reversed(digits))


@dataclass(frozen=True, slots=True)
class Value:
    """One value read: its tag, its contents, and all its bytes."""

    tag: int
    content: bytes
    encoded: bytes

    def children(self) -> Iterator[Value]:
        """Values inside. Raises ``DerInvalid``."""
        at = count = 0
        while at < len(self.content):
            count += 1
            if count > _MOST_CHILDREN:
                raise DerInvalid("too many values")
            child, at = _read(self.content, at)
            yield child

    def expect(self, tag: int) -> Value:
        """This value, which must have this tag. Raises ``DerInvalid``."""
        if self.tag != tag:
            raise DerInvalid(f"tag {self.tag:#x} instead of {tag:#x}")
        return self

    def fields_or_more(self, tag: int, least: int) -> list[Value]:
        """The values inside a value of this tag, at least so many. Raises ``DerInvalid``."""
        found = list(self.expect(tag).children())
        if len(found) < least:
            raise DerInvalid(f"{len(found)} fields instead of {least} or more")
        return found

    def fields(self, tag: int, count: int) -> list[Value]:
        """The ``count`` values inside a value of this tag. Raises ``DerInvalid``."""
        found = list(self.expect(tag).children())
        if len(found) != count:
            raise DerInvalid(f"{len(found)} fields instead of {count}")
        return found


def read(data: bytes) -> Value:
    """The one value in ``data``. Raises ``DerInvalid``, also for bytes behind it."""
    value, end = _read(data, 0)
    if end < len(data):
        raise DerInvalid(f"{len(data) - end} bytes behind the end of the DER structure")
    return value


def read_first(data: bytes) -> Value:
    """The first value in ``data``; what is behind it is ignored. Raises ``DerInvalid``."""
    return _read(data, 0)[0]


def _read(data: bytes, at: int) -> tuple[Value, int]:
    """The value at a place, and the place behind it; costs its length, however much follows."""
    if len(data) - at < 2 or data[at] & 0x1F == 0x1F:
        raise DerInvalid("truncated, or a tag of several bytes")
    start, length = at + 2, data[at + 1]
    if length >= SHORT_FORM:
        count = length & 0x7F
        if not 0 < count <= _MOST_LENGTH_BYTES or len(data) < start + count or not data[start]:
            raise DerInvalid("a length that is not DER")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
        if length < SHORT_FORM:
            raise DerInvalid("a length that is not DER")
    end = start + length
    if len(data) < end:
        raise DerInvalid("truncated")
    return Value(data[at], data[start:end], data[at:end]), end
