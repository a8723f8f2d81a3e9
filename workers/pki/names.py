"""Subject and alternative names of a certificate request, as an operator writes them on the command line."""

from __future__ import annotations

import ipaddress
import re
import warnings
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

_ATTRIBUTES: Final[dict[str, x509.ObjectIdentifier]] = {
    # in addition to those of RFC 4514 3, which cryptography knows: CN, L, ST, O, OU, C, STREET, DC, UID
    "EMAIL": NameOID.EMAIL_ADDRESS,
    "E": NameOID.EMAIL_ADDRESS,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "BUSINESSCATEGORY": NameOID.BUSINESS_CATEGORY,
    "POSTALCODE": NameOID.POSTAL_CODE,
    "ORGANIZATIONIDENTIFIER": NameOID.ORGANIZATION_IDENTIFIER,
    "JURISDICTIONC": NameOID.JURISDICTION_COUNTRY_NAME,
    "JURISDICTIONST": NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME,
    "JURISDICTIONL": NameOID.JURISDICTION_LOCALITY_NAME,
}

_MOST_CHARACTERS: Final[dict[x509.ObjectIdentifier, int]] = {
    # RFC 5280, appendix A.1: upper bounds
    NameOID.COMMON_NAME: 64,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.EMAIL_ADDRESS: 255,
    NameOID.COUNTRY_NAME: 2,
    NameOID.JURISDICTION_COUNTRY_NAME: 2,
}

_PARSED_COMMON_NAME: Final = x509.ObjectIdentifier("2.25.110533046043472126520162833976817082456")
"""CN while a subject is read: cryptography holds its bytes in UTF-8, not its characters, against the upper bound. A random UUID."""

_DOTTED: Final = {NameOID.COMMON_NAME.dotted_string: "CN"}

_WRONG_LENGTH: Final = re.compile(r"length must be >= (\d+) and <= (\d+), but it was (\d+)")
"""Words of cryptography about a value of a subject, which it checks while it reads."""

_VALUE: Final[dict[str, tuple[re.Pattern[str], str]]] = {
    # RFC 5280 4.2.1.6: all three are IA5String; without blanks and control characters, which no authority issues
    "dns": (re.compile(r"[!-~]+"), "a name in ASCII, with xn--… for other letters"),
    "email": (re.compile(r"[!-?A-~]+@[!-?A-~]+"), "an address in ASCII, such as a@example.org"),
    "uri": (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+"), "a URI in ASCII, such as https://example.org/x"),
}

_LONGEST_SUBJECT: Final = 2048
_LONGEST_ALTERNATIVE: Final = 1024
"""Authorities accept less; with sixteen alternative names a request stays within the 64 KiB that a token is asked to sign."""


class NameInvalid(ValueError):
    """A subject or an alternative name that no certificate has; the message says why, and what would be right."""


def parse_subject(text: str) -> x509.Name:
    """Name of an RFC 4514 text, such as ``CN=Example Ltd,O=Example Ltd,C=DE``. Raises ``NameInvalid``."""
    if len(text) > _LONGEST_SUBJECT:
        raise NameInvalid(f"the subject has {len(text)} characters, at most {_LONGEST_SUBJECT} are taken")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise NameInvalid(f"the subject {text!r:.120} has bytes that are not UTF-8")
    overrides = {name: oid for short, oid in _ATTRIBUTES.items() for name in (short, short.lower())}
    try:
        parsed = x509.Name.from_rfc4514_string(_upper_types(text), overrides | {"CN": _PARSED_COMMON_NAME})
    except (ValueError, TypeError) as error:
        raise NameInvalid(_why_unreadable(text, error)) from None
    name = x509.Name(x509.RelativeDistinguishedName(map(_common_name, rdn)) for rdn in parsed.rdns)
    if not name.get_attributes_for_oid(NameOID.COMMON_NAME):
        raise NameInvalid("the subject has no CN=…, which certificate authorities require")
    for attribute in name:
        _check_attribute(attribute)
    return name


def _common_name(attribute: x509.NameAttribute[str | bytes]) -> x509.NameAttribute[str | bytes]:
    """The attribute under its own OID; the length of its value is checked afterwards, in characters."""
    if attribute.oid != _PARSED_COMMON_NAME:
        return attribute
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return x509.NameAttribute(NameOID.COMMON_NAME, attribute.value, _validate=False)


def parse_alternative_names(texts: Sequence[str]) -> tuple[x509.GeneralName, ...]:
    """Alternative names, each once. Raises ``NameInvalid`` for one that none is, and for one that is there twice."""
    found: dict[tuple[type, object], x509.GeneralName] = {}
    for text in texts:
        name = parse_alternative_name(text)
        if found.setdefault(_compared(name), name) is not name:
            raise NameInvalid(f"the alternative name `{text:.120}` is given twice: name each once")
    return tuple(found.values())


def _compared(name: x509.GeneralName) -> tuple[type, object]:
    """Kind and value by which two names are one: letters of a host's name have no case (RFC 5280 4.2.1.6, 7.5)."""
    value = name.value
    if isinstance(name, x509.DNSName):
        value = name.value.lower()
    elif isinstance(name, x509.RFC822Name):
        mailbox, _, host = name.value.rpartition("@")
        value = f"{mailbox}@{host.lower()}"
    return type(name), value


def parse_alternative_name(text: str) -> x509.GeneralName:
    """Alternative name: ``dns:NAME``, ``email:ADDRESS``, ``uri:URI`` or ``ip:ADDRESS``. Raises ``NameInvalid``."""
    kind, colon, value = text.partition(":")
    if not colon or not value:
        raise NameInvalid(
            f"`{text}` is no alternative name: write dns:NAME, email:ADDRESS, uri:URI or ip:ADDRESS"
        )
    if len(text) > _LONGEST_ALTERNATIVE:
        raise NameInvalid(
            f"`{text:.60}…` has {len(text)} characters, an alternative name has at most {_LONGEST_ALTERNATIVE}"
        )
    form = _VALUE.get(kind.lower())
    if form is not None and form[0].fullmatch(value) is None:
        raise NameInvalid(f"{text!r} is no alternative name: {kind.lower()}: takes {form[1]}")
    try:
        match kind.lower():
            case "dns":
                return x509.DNSName(value)
            case "email":
                return x509.RFC822Name(value)
            case "uri":
                return x509.UniformResourceIdentifier(value)
            case "ip":
                return x509.IPAddress(_address(value))
    except ValueError as error:
        raise NameInvalid(f"`{text}` is no alternative name: {error}") from None
    raise NameInvalid(f"`{kind}` is no kind of alternative name: dns, email, uri and ip are")


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address. Raises ``ValueError``, also for one with a zone, which a certificate would have without it."""
    address = ipaddress.ip_address(value)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(f"the zone {address.scope_id!r} is of one host, and no certificate has it")
    return address


def _upper_types(text: str) -> str:
    """The text with the types of its attributes in capitals: ``cn=`` is as good as ``CN=`` (RFC 4514 3)."""
    parts, start, escaped = [], 0, False
    for i, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",+":
            parts.append(text[start : i + 1])
            start = i + 1
    parts.append(text[start:])
    return "".join(_upper_type(part) for part in parts)


def _upper_type(part: str) -> str:
    type_, equals, value = part.partition("=")
    upper = type_.strip().upper()
    return f"{_DOTTED.get(upper, upper)}={value.lstrip(' ')}" if equals else part


def _check_attribute(attribute: x509.NameAttribute[str | bytes]) -> None:
    value = attribute.value
    if not isinstance(value, str) or not value.strip():
        raise NameInvalid(f"{attribute.rfc4514_attribute_name} in the subject is empty")
    if not value.isprintable():
        raise NameInvalid(f"{attribute.rfc4514_attribute_name} in the subject has a control character")
    most = _MOST_CHARACTERS.get(attribute.oid)
    if most is not None and len(value) > most:
        raise NameInvalid(
            f"{attribute.rfc4514_attribute_name} in the subject has {len(value)} characters, at most {most} are allowed"
            " (RFC 5280, appendix A.1)"
        )


def _why_unreadable(text: str, error: Exception) -> str:
    why = str(error) or "it cannot be read"
    if length := _WRONG_LENGTH.search(why):
        least, most, has = length.groups()
        why = f"a value in it has {has} characters, {least} to {most} are allowed (RFC 5280, appendix A.1)"
    return (
        f"the subject {text!r:.120} is not understood ({why:.200}): write CN=Example Ltd,O=Example Ltd,C=DE, and a comma,"
        " plus sign, quote, semicolon, angle bracket or backslash inside a value with a backslash before it (RFC 4514)"
    )
