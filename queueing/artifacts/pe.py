"""PE files (exe, dll, sys, efi): their layout, their Authenticode digest, and the file with its certificate table.

Source: Microsoft's "PE Format", "Windows Authenticode Portable Executable Signature Format" 1.0. The digest covers the whole
file but its checksum, the directory entry of the certificate table, and that table, which must be the end of the file.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.artifacts.streams import read_exactly, span
from queueing.errors import ArtifactInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

LARGEST_BYTES: Final = 1 << 32
"""Offsets in the file are of 32 bits."""

_ROOM_BYTES: Final = 64 << 10
"""For one signature with its time-stamp."""

MOST_SIGNATURE_BYTES: Final = 16 << 20
"""A signature has some KiB, and some hundred with page hashes of a large file."""

_MOST_SECTIONS: Final = 96  # the loader's own limit ("PE Format", COFF file header)
_DOS_HEADER_BYTES: Final = 64
_COFF_HEADER_BYTES: Final = 24
"""Signature and COFF file header."""

_OPTIONAL_MAGIC: Final = {0x10B: 96, 0x20B: 112}
"""PE32 and PE32+, with the offset of their data directories in the optional header."""

_CERTIFICATES: Final = 4
"""Number of the certificate table's data directory."""

_SECTION_BYTES: Final = 40
_EFI_SUBSYSTEMS: Final = frozenset({10, 11, 12, 13})
_ALIGNMENT: Final = 8
_ENTRY: Final = struct.Struct("<IHH")
_REVISION_2: Final = 0x0200
_PKCS_SIGNED_DATA: Final = 2
_WORDS: Final = 0xFFFF
"""Modulus of the CheckSum."""

_SUMMED_BYTES: Final = 16 << 10
"""Width of a number in the CheckSum: 0.8 ms of CPU for a MiB, and a division of each MiB as one number takes 1.7 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeFile:
    """Layout of a PE file, read from its headers; offsets and sizes in bytes."""

    size_bytes: int
    checksum_at: int
    directory_at: int
    content_end: int
    """End of the content: where the certificate table begins, or would."""

    firmware: bool
    """An EFI image: firmware reads several table entries, and no nested signatures."""

    signatures: tuple[bytes, ...]
    """PKCS #7 SignedData of each table entry, perhaps with padding behind it."""

    @property
    def many_signatures(self) -> bool:
        """Firmware reads several table entries, and no nested signatures; Windows the other way round."""
        return self.firmware

    @property
    def can_append(self) -> bool:
        """A PE file can have several signatures."""
        return True

    @property
    def padding(self) -> bytes:
        """Zeros between content and certificate table; part of the digest."""
        return bytes(-self.content_end % _ALIGNMENT)

    def digest(self, stream: BinaryIO, hash_name: str) -> bytes:
        """Authenticode digest of the file; reads it once."""
        digest = hashlib.new(hash_name)
        for chunk in self._hashed(stream):
            digest.update(chunk)
        return digest.digest()

    def write(self, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str) -> bytes:
        """Write the file with these signatures in its certificate table, and with its checksum; returns the Authenticode digest."""
        table = b"".join(_entry(each) for each in signatures)
        at = self.content_end + len(self.padding)
        if at + len(table) > LARGEST_BYTES - 1:
            raise ArtifactInvalid("the signed file would be larger than 4 GiB, which a PE file cannot be")
        checksum, digest = _Checksum(), hashlib.new(hash_name)
        pieces: tuple[tuple[Iterable[bytes], bool], ...] = (
            (span(stream, 0, self.checksum_at), True),
            ((bytes(4),), False),
            (span(stream, self.checksum_at + 4, self.directory_at), True),
            ((struct.pack("<II", at, len(table)),), False),
            (span(stream, self.directory_at + 8, self.content_end), True),
            ((self.padding,), True),
            ((table,), False),
        )
        for chunks, is_hashed in pieces:
            for chunk in chunks:
                checksum.add(chunk)
                to.write(chunk)
                if is_hashed:
                    digest.update(chunk)
        to.seek(self.checksum_at)
        to.write(struct.pack("<I", checksum.value()))
        return digest.digest()

    def _hashed(self, stream: BinaryIO) -> Iterator[bytes]:
        yield from span(stream, 0, self.checksum_at)
        yield from span(stream, self.checksum_at + 4, self.directory_at)
        yield from span(stream, self.directory_at + 8, self.content_end)
        yield self.padding


def read_pe(stream: BinaryIO, size_bytes: int) -> PeFile:
    """Layout of a PE file. Raises ``ArtifactInvalid`` for a file that verifiers would read in different ways."""
    if size_bytes > LARGEST_BYTES - _ROOM_BYTES:
        raise ArtifactInvalid(f"the file has {size_bytes} bytes; a PE file ends below 4 GiB")
    dos = read_exactly(stream, 0, _DOS_HEADER_BYTES)
    (pe_at,) = struct.unpack_from("<I", dos, 0x3C)
    coff = read_exactly(stream, pe_at, _COFF_HEADER_BYTES)
    if dos[:2] != b"MZ" or coff[:4] != b"PE\0\0":
        raise ArtifactInvalid("this is no PE file: it has no PE header")
    sections, optional_bytes = struct.unpack_from("<H12xH", coff, 6)
    optional_at = pe_at + _COFF_HEADER_BYTES
    optional = read_exactly(stream, optional_at, optional_bytes)
    directories = _OPTIONAL_MAGIC.get(int.from_bytes(optional[:2], "little"))
    if directories is None:
        raise ArtifactInvalid("this is no PE file of an operating system: its optional header is unknown")
    entry = directories + 8 * _CERTIFICATES
    if optional_bytes < entry + 8 or struct.unpack_from("<I", optional, directories - 4)[0] <= _CERTIFICATES:
        raise ArtifactInvalid("the file has no place for a certificate table in its headers; link it again")
    if sections > _MOST_SECTIONS:
        raise ArtifactInvalid(f"the file has {sections} sections; Windows loads at most {_MOST_SECTIONS}")
    table_at, table_bytes = struct.unpack_from("<II", optional, entry)
    (subsystem,) = struct.unpack_from("<H", optional, 68)
    headers_end = optional_at + optional_bytes + _SECTION_BYTES * sections
    places = _places(read_exactly(stream, optional_at + optional_bytes, _SECTION_BYTES * sections))
    content_end = _content_end(table_at, table_bytes, size_bytes)
    if max((headers_end, *(start + size for start, size in places))) > content_end:
        raise ArtifactInvalid("the file is truncated: its headers or a section end behind its content")
    if subsystem in _EFI_SUBSYSTEMS:
        _check_contiguous(places, struct.unpack_from("<I", optional, 60)[0])
    return PeFile(
        size_bytes=size_bytes,
        checksum_at=optional_at + 64,
        directory_at=optional_at + entry,
        content_end=content_end,
        firmware=subsystem in _EFI_SUBSYSTEMS,
        signatures=_signatures(stream, table_at, table_bytes),
    )


def _places(table: bytes) -> list[tuple[int, int]]:
    """Start and size of each section's data, in the order of the file."""
    found = [struct.unpack_from("<II", table, at + 16) for at in range(0, len(table), _SECTION_BYTES)]
    return sorted((start, size) for size, start in found if size)


def _content_end(table_at: int, table_bytes: int, size_bytes: int) -> int:
    """End of the content. Raises ``ArtifactInvalid`` for a certificate table that is not the end of the file."""
    if not table_bytes and not table_at:
        return size_bytes
    problem = (
        "a verifier would not see it as a signature. Take the file as the linker made it, or remove the table"
    )
    if table_at % _ALIGNMENT or not table_bytes:
        raise ArtifactInvalid(f"the certificate table is at an impossible place ({table_at}): {problem}")
    if table_at + table_bytes > size_bytes:
        raise ArtifactInvalid("the file is truncated: its certificate table ends behind its end")
    if table_at + table_bytes < size_bytes:
        behind = size_bytes - table_at - table_bytes
        raise ArtifactInvalid(
            f"{behind} bytes follow the certificate table, which is no end of the file: {problem}"
        )
    return table_at


def _check_contiguous(places: list[tuple[int, int]], headers_bytes: int) -> None:
    """Raise ``ArtifactInvalid`` for gaps or overlaps: firmware digests sections, other verifiers the whole file."""
    expected = headers_bytes
    for start, size in places:
        if start != expected:
            raise ArtifactInvalid(
                f"the sections of this EFI image leave a gap, or overlap, at byte {min(start, expected)}: firmware and other"
                " verifiers would compute different digests. Link it again"
            )
        expected = start + size


def _signatures(stream: BinaryIO, table_at: int, table_bytes: int) -> tuple[bytes, ...]:
    if table_bytes > MOST_SIGNATURE_BYTES:
        raise ArtifactInvalid(f"the certificate table has {table_bytes} bytes; no signature is as long")
    table, found, at = read_exactly(stream, table_at, table_bytes), [], 0
    while at < len(table):
        if len(table) - at < _ENTRY.size:
            raise ArtifactInvalid("the certificate table is damaged: an entry is truncated")
        size, _, kind = _ENTRY.unpack_from(table, at)
        if size < _ENTRY.size or at + size > len(table):
            raise ArtifactInvalid("the certificate table is damaged: an entry has an impossible length")
        if kind != _PKCS_SIGNED_DATA:
            raise ArtifactInvalid(f"the certificate table has an entry of the unknown type {kind}")
        found.append(table[at + _ENTRY.size : at + size])
        at += size + -size % _ALIGNMENT
    return tuple(found)


def _entry(signature: bytes) -> bytes:
    """WIN_CERTIFICATE; its length includes the padding, as Windows' own tools write it."""
    padded = signature + bytes(-(len(signature) + _ENTRY.size) % _ALIGNMENT)
    return _ENTRY.pack(_ENTRY.size + len(padded), _REVISION_2, _PKCS_SIGNED_DATA) + padded


@dataclass(slots=True)
class _Checksum:
    """CheckSum of a PE file: the sum of its 16-bit words with carries added, plus its length.

    2**16 is 1 modulo 65535, so bytes may be added as numbers of any even width, and those at an odd place times 256.
    """

    _sum: int = field(default=0)
    _size_bytes: int = field(default=0)

    def add(self, chunk: bytes) -> None:
        """Add the next bytes of the file, in which the CheckSum itself is zero."""
        shift, view = 8 * (self._size_bytes % 2), memoryview(chunk)
        words = sum(
            int.from_bytes(view[at : at + _SUMMED_BYTES], "little")
            for at in range(0, len(view), _SUMMED_BYTES)
        )
        self._sum += (words % _WORDS) << shift
        self._size_bytes += len(chunk)

    def value(self) -> int:
        """The CheckSum of all that was added."""
        folded = self._sum % _WORDS or (_WORDS if self._sum else 0)
        return folded + self._size_bytes & 0xFFFFFFFF
