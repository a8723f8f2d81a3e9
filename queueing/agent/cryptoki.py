"""Constants of PKCS#11 (version 3.1, sections 3 and 6) that the agent's token has.

Names are the standard's without their prefix: ``Rv.OK`` is CKR_OK, ``Attribute.ID`` is CKA_ID.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

AttributeValue = bool | int | bytes
"""Value of an attribute: CK_BBOOL, CK_ULONG, or bytes."""


class Rv(IntEnum):
    """Return values (CKR_…)."""

    OK = 0x00
    SLOT_ID_INVALID = 0x03
    GENERAL_ERROR = 0x05
    NO_EVENT = 0x08
    ATTRIBUTE_SENSITIVE = 0x11
    ATTRIBUTE_TYPE_INVALID = 0x12
    DATA_INVALID = 0x20
    DATA_LEN_RANGE = 0x21
    DEVICE_ERROR = 0x30
    FUNCTION_NOT_SUPPORTED = 0x54
    KEY_HANDLE_INVALID = 0x60
    KEY_TYPE_INCONSISTENT = 0x63
    MECHANISM_INVALID = 0x70
    MECHANISM_PARAM_INVALID = 0x71
    OBJECT_HANDLE_INVALID = 0x82
    OPERATION_ACTIVE = 0x90
    OPERATION_NOT_INITIALIZED = 0x91
    SESSION_COUNT = 0xB1
    SESSION_HANDLE_INVALID = 0xB3
    USER_ALREADY_LOGGED_IN = 0x100
    USER_NOT_LOGGED_IN = 0x101
    BUFFER_TOO_SMALL = 0x150
    CRYPTOKI_NOT_INITIALIZED = 0x190
    FUNCTION_REJECTED = 0x200


class ObjectClass(IntEnum):
    """Classes of objects (CKO_…)."""

    CERTIFICATE = 0x01
    PUBLIC_KEY = 0x02
    PRIVATE_KEY = 0x03


class KeyType(IntEnum):
    """Types of keys (CKK_…)."""

    RSA = 0x00
    EC = 0x03


class Mechanism(IntEnum):
    """Mechanisms (CKM_…)."""

    RSA_PKCS = 0x01
    RSA_PKCS_PSS = 0x0D
    SHA_1 = 0x220
    SHA256 = 0x250
    SHA384 = 0x260
    SHA512 = 0x270
    ECDSA = 0x1041


class Attribute(IntEnum):
    """Attributes (CKA_…)."""

    CLASS = 0x00
    TOKEN = 0x01
    PRIVATE = 0x02
    LABEL = 0x03
    VALUE = 0x11
    CERTIFICATE_TYPE = 0x80
    ISSUER = 0x81
    SERIAL_NUMBER = 0x82
    TRUSTED = 0x86
    CERTIFICATE_CATEGORY = 0x87
    KEY_TYPE = 0x100
    SUBJECT = 0x101
    ID = 0x102
    SENSITIVE = 0x103
    ENCRYPT = 0x104
    DECRYPT = 0x105
    WRAP = 0x106
    UNWRAP = 0x107
    SIGN = 0x108
    SIGN_RECOVER = 0x109
    VERIFY = 0x10A
    VERIFY_RECOVER = 0x10B
    DERIVE = 0x10C
    MODULUS = 0x120
    MODULUS_BITS = 0x121
    PUBLIC_EXPONENT = 0x122
    PRIVATE_EXPONENT = 0x123
    PRIME_1 = 0x124
    PRIME_2 = 0x125
    EXPONENT_1 = 0x126
    EXPONENT_2 = 0x127
    COEFFICIENT = 0x128
    PUBLIC_KEY_INFO = 0x129
    EXTRACTABLE = 0x162
    LOCAL = 0x163
    NEVER_EXTRACTABLE = 0x164
    ALWAYS_SENSITIVE = 0x165
    MODIFIABLE = 0x170
    EC_PARAMS = 0x180
    EC_POINT = 0x181
    ALWAYS_AUTHENTICATE = 0x202


SECRET_ATTRIBUTES: Final = frozenset(
    {
        Attribute.VALUE,
        Attribute.PRIVATE_EXPONENT,
        Attribute.PRIME_1,
        Attribute.PRIME_2,
        Attribute.EXPONENT_1,
        Attribute.EXPONENT_2,
        Attribute.COEFFICIENT,
    }
)
"""Attributes of a private key that are never told: CKR_ATTRIBUTE_SENSITIVE (PKCS#11, C_GetAttributeValue)."""
