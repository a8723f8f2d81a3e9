"""DER is written as openssl and cryptography read it, and read strictly."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.protocol import der
from queueing.protocol.algorithms import HASH_OIDS
from queueing.protocol.der import digest_info_prefix, octets, oid


@given(st.binary(max_size=70_000))
def test_what_is_written_is_read(content: bytes) -> None:
    """Every length has its one form, and nothing is lost."""
    value = der.read(der.octets(content))

    assert (value.tag, value.content) == (der.OCTET_STRING, content)


@pytest.mark.parametrize(
    "dotted", ["1.2.840.113549.1.9.16.2.59", "2.25.329800735698586629295641978511506172918", "0.9.1"]
)
def test_an_oid_has_its_arcs_in_base_128(dotted: str) -> None:
    """Large arcs too; read back by the rule of X.690 8.19."""
    encoded = der.oid(dotted)
    arcs, number = [], 0
    for byte in der.read(encoded).content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(number)
            number = 0
    first = min(arcs[0] // 40, 2)
    assert ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:]))) == dotted


@pytest.mark.parametrize("value, content", [(0, "00"), (127, "7f"), (128, "0080"), (256, "0100")])
def test_an_integer_of_a_count_is_never_read_as_negative(value: int, content: str) -> None:
    """A leading zero keeps the sign bit free."""
    assert der.read(der.integer(value)).content.hex() == content


@pytest.mark.parametrize("value, content", [(-1, "ff"), (-128, "80"), (-129, "ff7f")])
def test_a_negative_integer_is_written_as_others_have_it(value: int, content: str) -> None:
    """Serial numbers in certificates of others: RFC 5280 4.1.2.2 tells to bear them."""
    assert der.read(der.integer(value)).content.hex() == content


def test_many_values_cost_their_own_length() -> None:
    """And not that of all behind them, each time: a megabyte in a file would take minutes."""

    class Counted(bytes):
        copied = 0

        def __getitem__(self, place: Any) -> Any:
            found = super().__getitem__(place)
            if not isinstance(place, slice):
                return found
            Counted.copied += len(found)
            return Counted(found)

    value = der.Value(der.SEQUENCE, Counted(der.null() * 5000), b"")
    assert len(list(value.children())) == 5000
    assert Counted.copied <= 5000 * 4


def test_a_value_of_too_many_values_is_refused() -> None:
    """Sixteen megabytes of a file would take two gigabytes in memory."""
    with pytest.raises(der.DerInvalid, match="too many"):
        list(der.read(der.sequence(der.null() * 70_000)).children())


def test_a_set_of_is_sorted() -> None:
    """X.690 11.6: in the order of the encodings."""
    for numbers in ([9, 3], [3, 9]):
        assert der.set_of([der.integer(number) for number in numbers]).hex() == "3106020103020109"


def test_times_change_their_form_in_2050() -> None:
    """RFC 5280 4.1.2.5."""
    assert der.read(der.time(datetime(2049, 1, 2, 3, 4, 5, tzinfo=UTC))).content == b"490102030405Z"
    assert der.read(der.time(datetime(2050, 1, 2, tzinfo=UTC))).content == b"20500102000000Z"


@pytest.mark.parametrize(
    "raw",
    ["", "30", "3001", "3080", "308100", "30810100", "3082000100", "30820080" + "00" * 128, "1f8101", "0401ff00", "3084ffffffff", "30850000000001ff"],
)  # fmt: skip
def test_bytes_that_are_no_der_are_refused(raw: str) -> None:
    """Truncated, indefinite and overlong lengths, high tags, and bytes behind the end."""
    with pytest.raises(der.DerInvalid):
        der.read(bytes.fromhex(raw))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Any input is a value or ``DerInvalid``."""
    try:
        list(der.read(raw).children())
    except der.DerInvalid:
        return


def test_a_structure_must_be_as_expected() -> None:
    """Another tag or another number of fields is refused."""
    value = der.read(der.sequence(der.integer(1)))
    with pytest.raises(der.DerInvalid, match="instead of 2"):
        value.fields(der.SEQUENCE, 2)
    with pytest.raises(der.DerInvalid, match="tag"):
        value.expect(der.SET)


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


@pytest.mark.parametrize("dotted, encoded", [("1.2.840.113549", "06062a864886f70d"), ("2.999", "06028837")])
def test_an_object_identifier_has_seven_bits_a_byte(dotted: str, encoded: str) -> None:
    """Examples of X.690 8.19 and RFC 8017."""
    assert oid(dotted).hex() == encoded


@pytest.mark.parametrize("size, head", [(0, "0400"), (127, "047f"), (128, "048180"), (133, "048185")])
def test_an_octet_string_has_a_long_length_from_128_bytes(size: int, head: str) -> None:
    """X.690 8.1.3: 133 bytes is the point of a P-521 key."""
    assert octets(bytes(size)).hex() == head + "00" * size
