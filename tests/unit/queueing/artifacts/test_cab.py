"""Cabinets: the signed form has a reserve in its header, and its signature behind the content."""

from __future__ import annotations

import hashlib
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.artifacts.cab import CabFile, read_cab
from queueing.errors import ArtifactInvalid
from tests.support.artifacts.cab_files import cab_file


def read(raw: bytes, *, size_bytes: int | None = None) -> CabFile:
    return read_cab(io.BytesIO(raw), len(raw) if size_bytes is None else size_bytes)


def signed(raw: bytes, signature: bytes) -> bytes:
    to = io.BytesIO()
    written = read(raw).write(io.BytesIO(raw), to, (signature,), "sha256")
    made = to.getvalue()
    assert written == read(made).digest(to, "sha256")
    return made


def digest(raw: bytes) -> bytes:
    return read(raw).digest(io.BytesIO(raw), "sha256")


@given(content=st.binary(max_size=300), signature=st.binary(min_size=1, max_size=40))
def test_a_signature_is_read_back_and_the_content_moves_behind_the_reserve(
    content: bytes, signature: bytes
) -> None:
    """Offsets and size in the header follow; the digest is that of the signed form, before and after."""
    raw = cab_file(content)
    made = signed(raw, signature)
    assert read(made).signatures[0].rstrip(b"\0") == signature.rstrip(b"\0")
    assert made[60 + 8 : 24 + len(raw)] == raw[36 + 8 :]
    size, files_at, data_at = (struct.unpack_from("<I", made, at)[0] for at in (8, 16, 60))
    assert (size, files_at) == (len(raw) + 24, 36 + 24 + 8)
    assert made[data_at + 8 : size] == content
    assert digest(made) == digest(raw)
    assert digest(raw) == hashlib.sha256(made[:4] + made[8:34] + made[56:size]).digest()
    assert signed(made, b"another") == signed(raw, b"another")


def test_each_part_of_the_content_is_in_the_digest() -> None:
    """A changed byte of header, file entry, name or content changes it."""
    raw = cab_file()
    for at in (32, 50, 60, len(raw) - 1):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert digest(changed) != digest(raw)


ROOM = struct.pack("<HBBIIIQ", 20, 0, 0, 0x00100000, 0, 0, 0)
BAD = {
    "text": (b"hello" * 20, "no cabinet"),
    "empty": (b"", "truncated"),
    "cut": (cab_file()[:-1], "truncated, or other data"),
    "a cut header": (cab_file()[:20], "truncated"),
    "data behind it": (cab_file() + b"x", "other data"),
    "a part of a set": (cab_file(flags=1), "part of a set"),
    "the first of a set": (cab_file(flags=2), "part of a set"),
    "a reserve of another size": (
        cab_file(reserve=struct.pack("<HBB", 8, 0, 0) + bytes(40)),
        "reserved space",
    ),
    "a reserve for folders": (cab_file(reserve=struct.pack("<HBB", 20, 4, 0) + bytes(40)), "reserved space"),
    "a reserve of zeros": (cab_file(reserve=struct.pack("<HBB", 20, 0, 0) + bytes(20)), "reserved space"),
    "room without a signature": (cab_file(reserve=ROOM), "damaged"),
    "files elsewhere": (cab_file()[:16] + struct.pack("<I", 99) + cab_file()[20:], "do not follow"),
    "a folder behind the end": (cab_file()[:36] + b"\xff\xff\xff\x7f" + cab_file()[40:], "behind its end"),
    "a signature cut off": (signed(cab_file(), b"s" * 16)[:-8], "damaged"),
    "data behind the signature": (signed(cab_file(), b"s" * 16) + bytes(8), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_a_sentence(name: str) -> None:
    """Each kind of damage has its own sentence."""
    raw, words = BAD[name]
    with pytest.raises(ArtifactInvalid, match=words):
        read(raw)


def test_a_file_of_four_gigabytes_is_refused_unread() -> None:
    """Offsets have 32 bits."""
    with pytest.raises(ArtifactInvalid, match="4 GiB"):
        read(cab_file(), size_bytes=(1 << 32) - 5)


@given(st.integers(0, 70), st.binary(min_size=1, max_size=8))
def test_no_header_breaks_the_reader(at: int, change: bytes) -> None:
    """Any bytes are a layout or ``ArtifactInvalid``; a layout can be digested."""
    raw = bytearray(signed(cab_file(), b"signature"))
    raw[at : at + len(change)] = change
    try:
        read(bytes(raw)).digest(io.BytesIO(raw), "sha256")
    except ArtifactInvalid:
        return
