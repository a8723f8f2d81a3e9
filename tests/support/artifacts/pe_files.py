"""Small PE files that tests make themselves, of one section."""

from __future__ import annotations

import struct

HEADERS_BYTES = 0x200
DIRECTORY_AT = {"pe32": 0x40 + 24 + 96 + 32, "pe32+": 0x40 + 24 + 112 + 32}
CHECKSUM_AT = 0x40 + 24 + 64


def pe_file(
    content: bytes = b"\xc3" * 0x200,
    *,
    overlay: bytes = b"",
    kind: str = "pe32+",
    subsystem: int = 3,
    section_at: int = HEADERS_BYTES,
) -> bytes:
    """An image of 64 bits (``pe32+``) or 32; ``content``: its one section, ``overlay``: bytes behind it."""
    wide = kind == "pe32+"
    optional_bytes = (112 if wide else 96) + 128
    optional = bytearray(optional_bytes)
    struct.pack_into("<H", optional, 0, 0x20B if wide else 0x10B)
    struct.pack_into("<I", optional, 60, HEADERS_BYTES)
    struct.pack_into("<H", optional, 68, subsystem)
    struct.pack_into("<I", optional, (112 if wide else 96) - 4, 16)
    dos = b"MZ" + bytes(58) + struct.pack("<I", 0x40)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, optional_bytes, 0x22)
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", len(content), 0x1000, len(content), section_at, 0, 0, 0, 0, 0
    )
    headers = dos + coff + bytes(optional) + section
    return headers.ljust(section_at, b"\0") + content + overlay


def with_table(raw: bytes, at: int, size: int, *, kind: str = "pe32+") -> bytes:
    """The file with this entry for its certificate table."""
    changed = bytearray(raw)
    struct.pack_into("<II", changed, DIRECTORY_AT[kind], at, size)
    return bytes(changed)
