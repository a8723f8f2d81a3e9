"""Compound files: what is written is read back, and no damaged one breaks the reader."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queueing.artifacts.compound_file import CompoundFile, Entry, read_compound_file
from queueing.artifacts.compound_file_writing import tree_order, write_compound_file
from queueing.errors import ArtifactInvalid
from tests.support.artifacts.msi_files import PACKAGE, Content, compound_file, entry


def read(raw: bytes, *, size_bytes: int | None = None) -> CompoundFile:
    return read_compound_file(io.BytesIO(raw), len(raw) if size_bytes is None else size_bytes)


def content_of(storage: Entry, stream: io.BytesIO) -> Content:
    return {
        child.name.decode("utf-16-le", "replace"): content_of(child, stream)
        if child.kind == 1
        else b"".join(child.pieces(stream))
        for child in storage.children
    }


def read_back(raw: bytes) -> Content:
    return content_of(read(raw).root, io.BytesIO(raw))


names = st.text("abcdefg0123456789", min_size=1, max_size=8)
trees = st.recursive(
    st.one_of(st.binary(max_size=200), st.integers(4000, 9000).map(bytes)),
    lambda inner: st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)


@pytest.mark.parametrize("version", [3, 4])
@settings(deadline=None)
@given(content=st.dictionaries(names, trees, max_size=8))
def test_what_is_written_is_read_back(version: int, content: Content) -> None:
    """Streams of all sizes, storages in storages; a file that is read can be written again, the same."""
    raw = compound_file(content, version=version)
    assert read_back(raw) == content
    again = io.BytesIO()
    write_compound_file(read(raw), io.BytesIO(raw), again)
    assert again.getvalue() == raw


def test_other_fields_of_an_entry_are_kept() -> None:
    """CLSID, state and times, of storages and streams."""
    root = read(compound_file(PACKAGE)).root
    for found in (root, *root.children):
        fields = (found.clsid, found.state, found.created, found.modified)
        assert fields == (bytes(range(16)), 5, b"created.", b"modified")


def test_a_large_file_has_a_table_of_its_allocation_table() -> None:
    """From 109 sectors of it, about 7 MB."""
    content: Content = {"a": bytes(range(256)) * 40_000, "b": b"b"}
    raw = compound_file(content)
    (difat_sectors,) = struct.unpack_from("<I", raw, 72)
    assert difat_sectors == 1
    assert read_back(raw) == content


def test_names_are_ordered_as_the_format_has_it() -> None:
    """Shorter ones first, then by upper-case letters."""
    order = ["A", "b", "C", "aa", "AB", "ÿÿ", "abc"]
    entries = sorted((entry(name, b"") for name in reversed(order)), key=tree_order)
    assert [each.name.decode("utf-16-le") for each in entries] == order


def patched(at: int, value: bytes) -> bytes:
    raw = bytearray(compound_file(PACKAGE))
    raw[at : at + len(value)] = value
    return bytes(raw)


FAR = b"\x00\xff\xff\x00"
BAD = {
    "empty": (b"", "truncated"),
    "text": (b"hello " * 200, "no compound file"),
    "another order of bytes": (patched(28, b"\xff\xfe"), "no compound file"),
    "an unknown version": (patched(26, b"\x09\x00"), "unknown"),
    "another size of mini sectors": (patched(32, b"\x07\x00"), "unknown"),
    "a large allocation table": (patched(44, b"\xff\xff\xff\x00"), "larger than the file"),
    "a table behind the end": (patched(76, FAR), "behind its end"),
    "no table": (patched(44, b"\x00\x00\x00\x00"), "leads to nowhere"),
    "a directory behind the end": (patched(48, FAR), "leads to nowhere"),
    "a cut file": (compound_file(PACKAGE)[:2000], "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_file_is_refused_with_a_sentence(name: str) -> None:
    """Each kind of damage has its own sentence."""
    raw, words = BAD[name]
    with pytest.raises(ArtifactInvalid, match=words):
        read(raw)


def test_two_entries_of_one_name_are_refused() -> None:
    """Verifiers would take one or the other."""
    raw = compound_file({"aa": b"1", "bb": b"2"})
    at = raw.index("bb".encode("utf-16-le"))
    with pytest.raises(ArtifactInvalid, match="one name"):
        read(raw[:at] + "aa".encode("utf-16-le") + raw[at + 4 :])


def test_a_loop_ends() -> None:
    """Of sectors, and of entries."""
    raw = bytearray(compound_file({"cab": b"x" * 10_000}))
    fat_at = (struct.unpack_from("<I", raw, 76)[0] + 1) * 512
    directory = struct.unpack_from("<I", raw, 48)[0]
    struct.pack_into("<I", raw, fat_at + 4 * directory, directory)
    with pytest.raises(ArtifactInvalid, match="loop"):
        read(bytes(raw))
    raw = bytearray(compound_file({"a": b"1", "b": b"2"}))
    entries_at = (struct.unpack_from("<I", raw, 48)[0] + 1) * 512
    struct.pack_into("<I", raw, entries_at + 128 + 68, 2)
    struct.pack_into("<I", raw, entries_at + 256 + 68, 1)
    with pytest.raises(ArtifactInvalid, match="no tree"):
        read(bytes(raw))


def with_large_stream() -> tuple[bytearray, int, bytes]:
    """A file of a large stream and two empty ones, the place of its directory, and start and size of the stream."""
    raw = bytearray(compound_file({"a": b"x" * 60_000, "b": b"", "c": b""}))
    directory = (struct.unpack_from("<I", raw, 48)[0] + 1) * 512
    entries = [raw[at : at + 128] for at in range(directory, directory + 512, 128)]
    return raw, directory, bytes(next(each for each in entries if each[:2] == b"a\0")[116:])


def test_streams_in_one_place_are_refused() -> None:
    """Each of them is hashed and copied: a small file could have a million of one large chain."""
    raw, directory, place = with_large_stream()
    for at in range(directory + 128, directory + 512, 128):
        raw[at + 116 : at + 128] = place
    with pytest.raises(ArtifactInvalid, match="overlap"):
        read(bytes(raw))


@pytest.mark.parametrize("chain", ["directory", "mini stream", "table of the mini stream"])
def test_what_is_in_memory_at_once_has_a_bound(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chain may be as long as the file, of 2 GB without data on disk, whatever size is stated."""
    monkeypatch.setattr("queueing.artifacts.compound_file._MOST_ENTRIES", 8)
    monkeypatch.setattr("queueing.artifacts.compound_file._MOST_MINI_STREAM_BYTES", 64 * 128)
    raw, directory, place = with_large_stream()
    if chain == "mini stream":
        raw[directory + 116 : directory + 128] = place[:4] + struct.pack("<Q", 64)
    else:
        at = 48 if chain == "directory" else 60
        raw[at : at + 4] = place[:4]
    with pytest.raises(ArtifactInvalid, match="too large"):
        read(bytes(raw))


def test_a_package_of_two_gigabytes_is_refused_unread() -> None:
    """Windows Installer takes none."""
    with pytest.raises(ArtifactInvalid, match="2 GiB"):
        read(compound_file(PACKAGE), size_bytes=1 << 31)


@settings(deadline=None)
@given(st.data())
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    """Any file is read or ``ArtifactInvalid``, within its own size."""
    raw = bytearray(compound_file(PACKAGE))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 4))
        raw[at : at + 4] = data.draw(
            st.one_of(
                st.binary(min_size=4, max_size=4), st.integers(0, 60).map(lambda i: i.to_bytes(4, "little"))
            )
        )
    try:
        read_back(bytes(raw))
    except ArtifactInvalid:
        return
