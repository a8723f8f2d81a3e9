"""Receipts in a CMS signature: an unsigned attribute of its signer, which leaves the signature as valid as it was.

The value is an OCTET STRING with the receipt's bytes (``queueing.transparency.receipts``). Its digest is that of the signed
attributes, which the key has signed: not that of the content. Verifiers that do not know the attribute skip it (RFC 5652 5.3).
"""

from __future__ import annotations

import hashlib
from typing import Final

from queueing.artifacts.cms import attribute, read_signed_data
from queueing.protocol import der

RECEIPT: Final = der.oid("2.25.263827294896622236528809131063123469650")
"""Type of the attribute: an OID of a UUID (ITU-T X.667)."""


def with_receipt(signed: bytes, receipt: bytes) -> bytes:
    """The ContentInfo (DER, one signer) with this receipt, which replaces an earlier one; other attributes stay.

    Raises ``DerInvalid`` for another structure. Bytes behind the structure are dropped.
    """
    read = read_signed_data(signed)
    others = tuple(each for each in read.unsigned_attributes if not _is_receipt(each))
    return read.replacing_unsigned((*others, attribute(RECEIPT, der.octets(receipt))))


def receipt_of(signed: bytes) -> bytes | None:
    """Bytes of the receipt in a ContentInfo, not verified; None where there is none. Raises ``DerInvalid``."""
    value = read_signed_data(signed).unsigned_attribute(RECEIPT)
    return None if value is None else der.read(value).expect(der.OCTET_STRING).content


def signed_digest(signed: bytes, hash_name: str) -> bytes:
    """Digest that the signer's key has signed, of which the receipt must be. Raises ``DerInvalid``."""
    return hashlib.new(hash_name, read_signed_data(signed).attributes).digest()


def _is_receipt(encoded: bytes) -> bool:
    kind, _ = der.read(encoded).fields(der.SEQUENCE, 2)
    return kind.encoded == RECEIPT
