"""PE files: their layout is read strictly, and the signed file is the same file with a table at its end."""

from __future__ import annotations

import hashlib
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.artifacts.pe import PeFile, read_pe
from queueing.errors import ArtifactInvalid
from tests.support.artifacts.pe_files import CHECKSUM_AT, DIRECTORY_AT, pe_file, with_table


def read(raw: bytes, *, size_bytes: int | None = None) -> PeFile:
    return read_pe(io.BytesIO(raw), len(raw) if size_bytes is None else size_bytes)


def signed(raw: bytes, *signatures: bytes) -> bytes:
    to = io.BytesIO()
    written = read(raw).write(io.BytesIO(raw), to, signatures, "sha256")
    made = to.getvalue()
    assert written == read(made).digest(to, "sha256")
    return made


def checksum_of(raw: bytes) -> int:
    """CheckSum as Windows computes it, word by word."""
    padded = raw[:CHECKSUM_AT] + bytes(4) + raw[CHECKSUM_AT + 4 :] + bytes(len(raw) % 2)
    total = 0
    for (word,) in struct.iter_unpack("<H", padded):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(raw)


@pytest.mark.parametrize("kind", ["pe32", "pe32+"])
def test_the_digest_leaves_out_checksum_table_entry_and_table(kind: str) -> None:
    """It is the same before and after signing, and changes with a byte of the content."""
    raw = pe_file(kind=kind)
    at = DIRECTORY_AT[kind]
    expected = hashlib.sha256(raw[:CHECKSUM_AT] + raw[CHECKSUM_AT + 4 : at] + raw[at + 8 :]).digest()
    assert read(raw).digest(io.BytesIO(raw), "sha256") == expected
    made = signed(raw, b"first")
    assert read(made).digest(io.BytesIO(made), "sha256") == expected
    changed = made[:-200] + bytes([made[-200] ^ 1]) + made[-199:]
    assert read(changed).digest(io.BytesIO(changed), "sha256") != expected


@given(
    overlay=st.binary(max_size=40),
    signatures=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3),
)
def test_signatures_are_read_back_and_nothing_else_changes(overlay: bytes, signatures: list[bytes]) -> None:
    """All bytes behind the sections are content; the table begins at a multiple of eight."""
    raw = pe_file(overlay=overlay)
    made = signed(raw, *signatures)
    found = read(made)
    assert [x.rstrip(b"\0") for x in found.signatures] == [x.rstrip(b"\0") for x in signatures]
    assert found.content_end % 8 == 0
    assert len(made) % 8 == 0
    assert made[CHECKSUM_AT + 4 : DIRECTORY_AT["pe32+"]] == raw[CHECKSUM_AT + 4 : DIRECTORY_AT["pe32+"]]
    rest = DIRECTORY_AT["pe32+"] + 8
    assert made[rest : len(raw)] == raw[rest:]
    assert struct.unpack_from("<I", made, CHECKSUM_AT)[0] == checksum_of(made)


@given(content=st.binary(min_size=1, max_size=3000))
def test_the_checksum_is_that_of_windows(content: bytes) -> None:
    """As the sum word by word has it, also of odd lengths."""
    made = signed(pe_file(content), b"s")
    assert struct.unpack_from("<I", made, CHECKSUM_AT)[0] == checksum_of(made)


@given(
    pattern=st.binary(min_size=1, max_size=30),
    pieces=st.integers(0, 3),
    more=st.integers(-600, 600),
    first=st.integers(0, 0x1FF),
)
def test_the_checksum_of_content_in_many_pieces_is_that_of_windows(
    pattern: bytes, pieces: int, more: int, first: int
) -> None:
    """At any length around multiples of a summed piece, and with any content of 0x00 and 0xff."""
    content = (pattern * (40_000 // len(pattern)))[: max(1, pieces * (16 << 10) + more - first)]
    made = signed(pe_file(content), b"s")
    assert struct.unpack_from("<I", made, CHECKSUM_AT)[0] == checksum_of(made)


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_sum_that_is_a_multiple_of_65535_is_65535(fill: bytes) -> None:
    """Carries that are added never make zero of words that are not all zero."""
    content = fill * 0x8000
    made = signed(pe_file(content + b"\0\0"), b"s")
    words = checksum_of(made) - len(made)
    made = signed(pe_file(content + struct.pack("<H", 0xFFFF - words)), b"s")
    assert checksum_of(made) == 0xFFFF + len(made)
    assert struct.unpack_from("<I", made, CHECKSUM_AT)[0] == checksum_of(made)


def test_the_checksum_of_chunks_of_a_large_file_is_that_of_windows() -> None:
    """The header's place splits the content, so chunks begin at places that are no multiple of a summed piece."""
    content = bytes(range(251)) * 9000
    made = signed(pe_file(content), b"s")
    assert struct.unpack_from("<I", made, CHECKSUM_AT)[0] == checksum_of(made)


def test_signing_again_replaces_the_table() -> None:
    """The content ends where the old table began."""
    raw = pe_file(overlay=b"12345")
    assert signed(signed(raw, b"a much longer first one"), b"s") == signed(raw, b"s")


TABLE_AT = len(pe_file())
BAD = {
    "empty": (b"", "truncated"),
    "a cut header": (pe_file()[:0x60], "truncated"),
    "a cut section": (pe_file()[:-1], "truncated"),
    "a cut section table": (pe_file()[: 0x40 + 24 + 240 + 10], "truncated"),
    "an offset behind the end": (b"MZ" + bytes(58) + b"\xff\xff\xff\x7f", "truncated"),
    "no PE header": (b"MZ" + bytes(600), "no PE file"),
    "a DOS program": (pe_file().replace(b"PE\0\0", b"NE\0\0"), "no PE header"),
    "text": (b"hello " * 200, "truncated|no PE"),
    "an unknown optional header": (pe_file().replace(b"\x0b\x02", b"\x07\x01", 1), "unknown"),
    "no room for the entry": (
        pe_file()[: 0x40 + 24 + 108] + struct.pack("<I", 4) + pe_file()[0x40 + 24 + 112 :],
        "no place",
    ),
    "a table in the middle": (with_table(pe_file(), 0x200, 8), "follow the certificate table"),
    "a table behind the end": (with_table(pe_file(), TABLE_AT, 64), "truncated"),
    "a table at an odd place": (with_table(pe_file() + bytes(12), TABLE_AT + 4, 8), "impossible place"),
    "a table of no bytes": (with_table(pe_file(), TABLE_AT, 0), "impossible place"),
    "bytes behind the table": (with_table(pe_file() + bytes(24), TABLE_AT, 16), "8 bytes follow"),
    "a table in the headers": (
        with_table(pe_file()[:0x200], 0x40, 0x200 - 0x40),
        "headers or a section end|truncated",
    ),
    "an entry of no length": (with_table(pe_file() + bytes(16), TABLE_AT, 16), "impossible length"),
    "an entry longer than the table": (
        with_table(pe_file() + struct.pack("<IHH", 99, 0x200, 2) + bytes(8), TABLE_AT, 16),
        "impossible length",
    ),
    "a cut entry": (
        with_table(pe_file() + struct.pack("<IHH", 8, 0x200, 2) + bytes(4), TABLE_AT, 12),
        "entry is truncated",
    ),
    "an entry of another type": (
        with_table(pe_file() + struct.pack("<IHH", 16, 0x200, 1) + bytes(8), TABLE_AT, 16),
        "unknown type",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_a_sentence(name: str) -> None:
    """Verifiers would read such a file in different ways."""
    raw, words = BAD[name]
    with pytest.raises(ArtifactInvalid, match=words):
        read(raw)


def test_a_table_in_the_headers_is_no_end_of_the_content() -> None:
    """Also where the sections are said to end before it: the signature would be written into the headers."""
    raw = bytearray(with_table(pe_file()[:0x200], 0x40, 0x200 - 0x40))
    section_at = 0x40 + 24 + 240
    struct.pack_into("<II", raw, section_at + 16, 8, 0x10)
    with pytest.raises(ArtifactInvalid, match="headers or a section end"):
        read(bytes(raw))


def test_headers_at_the_end_of_a_large_file_are_copied_in_pieces() -> None:
    """Of a file of 4 MB here; the offset of the headers may say up to 4 GB."""
    raw = pe_file()
    moved = bytearray(raw[:0x40].ljust(4 << 20, b"\0") + raw[0x40:])
    struct.pack_into("<I", moved, 0x3C, 4 << 20)
    pieces: list[int] = []

    class Counted(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            pieces.append(len(data))
            return len(data)

    read(bytes(moved)).write(io.BytesIO(moved), Counted(), (b"s",), "sha256")
    assert max(pieces) <= 1 << 20


def test_a_file_of_four_gigabytes_is_refused_unread() -> None:
    """Offsets have 32 bits; the signature must fit below, too."""
    with pytest.raises(ArtifactInvalid, match="4 GiB"):
        read(pe_file(), size_bytes=(1 << 32) - 5)


@pytest.mark.parametrize("section_at", [0x208, 0x1F8])
def test_an_efi_image_with_gaps_or_overlaps_is_refused(section_at: int) -> None:
    """Firmware digests section after section: it would see another digest than the one that was signed."""
    raw = pe_file(subsystem=10, section_at=section_at)
    with pytest.raises(ArtifactInvalid, match="gap"):
        read(raw)
    assert not read(pe_file(section_at=section_at)).firmware
    assert read(pe_file(subsystem=10)).firmware


@given(st.integers(0, 0x1FF), st.binary(min_size=1, max_size=16))
def test_no_header_breaks_the_reader(at: int, change: bytes) -> None:
    """Any bytes are a layout or ``ArtifactInvalid``; a layout can be digested."""
    raw = bytearray(pe_file())
    raw[at : at + len(change)] = change
    try:
        found = read(bytes(raw))
        found.digest(io.BytesIO(raw), "sha256")
    except ArtifactInvalid:
        return
