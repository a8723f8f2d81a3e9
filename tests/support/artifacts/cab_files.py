"""Small cabinets that tests make themselves, uncompressed, of one folder and one file."""

from __future__ import annotations

import struct


def cab_file(content: bytes = b"content of the file", *, flags: int = 0, reserve: bytes = b"") -> bytes:
    """A cabinet; ``reserve``: bytes behind its header, with their sizes."""
    extra = len(reserve)
    name = b"app.bin\0"
    files_at = 36 + extra + 8
    data_at = files_at + 16 + len(name)
    size = data_at + 8 + len(content)
    header = struct.pack(
        "<4sIIIIIBBHHHHH", b"MSCF", 0, size, 0, files_at, 0, 3, 1, 1, 1, flags | (4 if reserve else 0), 7, 0
    )
    folder = struct.pack("<IHH", data_at, 1, 0)
    file = struct.pack("<IIHHHH", len(content), 0, 0, 0, 0, 0) + name
    data = struct.pack("<IHH", 0, len(content), len(content)) + content
    return header + reserve + folder + file + data
