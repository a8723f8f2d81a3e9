"""Small compound files that tests make themselves, with the product's own writer: real ones are made in `make test-tools`."""

from __future__ import annotations

import io

from queueing.artifacts.compound_file import ROOT, STORAGE, STREAM, CompoundFile, Entry
from queueing.artifacts.compound_file_writing import write_compound_file

Content = dict[str, "bytes | Content"]


def entry(name: str, content: bytes | Content, *, kind: int = STORAGE) -> Entry:
    """A stream of bytes, or a storage of entries by name."""
    is_stream = isinstance(content, bytes)
    return Entry(
        name=name.encode("utf-16-le"),
        kind=STREAM if is_stream else kind,
        clsid=bytes(range(16)),
        state=5,
        created=b"created.",
        modified=b"modified",
        size_bytes=len(content) if isinstance(content, bytes) else 0,
        content=content if isinstance(content, bytes) else b"",
        runs=(),
        children=()
        if isinstance(content, bytes)
        else tuple(entry(key, value) for key, value in content.items()),
    )


def compound_file(content: Content, *, version: int = 3) -> bytes:
    """A file with these streams and storages in its root."""
    to = io.BytesIO()
    root = entry("Root Entry", content, kind=ROOT)
    write_compound_file(CompoundFile(version, root), io.BytesIO(), to)
    return to.getvalue()


PACKAGE: Content = {
    "Property": b"small",
    "cab": b"large" * 3000,
    "Empty": b"",
    "Sub": {"Inner": b"i" * 64, "Deeper": {"x": b"xx"}},
    "\x05SummaryInformation": b"summary",
}
"""What a package has: small and large streams, an empty one, and storages in storages."""
