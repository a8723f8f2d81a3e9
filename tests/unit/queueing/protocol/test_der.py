"""DER forms are byte for byte those of the standards."""

from __future__ import annotations

import hashlib

import pytest

from queueing.protocol.algorithms import HASH_OIDS
from queueing.protocol.der import der_oid, digest_info_prefix, octet_string


@pytest.mark.parametrize("name", HASH_OIDS)
def test_the_digest_info_announces_exactly_its_digest(name: str) -> None:
    """RFC 8017 9.2: an outer SEQUENCE of the whole rest, an OCTET STRING as long as the digest."""
    digest = hashlib.new(name).digest()
    whole = digest_info_prefix(name) + digest
    assert whole[1] == len(whole) - 2
    assert digest_info_prefix(name)[-2:] == bytes([0x04, len(digest)])


@pytest.mark.parametrize(
    "name, prefix",
    [
        ("sha256", "3031300d060960864801650304020105000420"),
        ("sha384", "3041300d060960864801650304020205000430"),
        ("sha512", "3051300d060960864801650304020305000440"),
    ],
)
def test_the_digest_info_is_that_of_the_standard(name: str, prefix: str) -> None:
    """The bytes are printed in RFC 8017 9.2, note 1."""
    assert digest_info_prefix(name).hex() == prefix


@pytest.mark.parametrize("dotted, der", [("1.2.840.113549", "06062a864886f70d"), ("2.999", "06028837")])
def test_an_object_identifier_has_seven_bits_a_byte(dotted: str, der: str) -> None:
    """Examples of X.690 8.19 and RFC 8017."""
    assert der_oid(dotted).hex() == der


@pytest.mark.parametrize("size, head", [(0, "0400"), (127, "047f"), (128, "048180"), (133, "048185")])
def test_an_octet_string_has_a_long_length_from_128_bytes(size: int, head: str) -> None:
    """X.690 8.1.3: 133 bytes is the point of a P-521 key."""
    assert octet_string(bytes(size)).hex() == head + "00" * size
