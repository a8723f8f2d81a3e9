"""Cabinets (CAB): their layout, their Authenticode digest, and the file with its signature behind the content.

Source: Microsoft's "Cabinet File Format" ([MS-CAB]) 2.1 to 2.3; the place of a signature is a reserve of 20 bytes in the header,
with offset and size of the SignedData behind the cabinet. The digest is that of the signed form: of the header without
the reserve, of the folders, whose offsets the reserve moves, and of the rest.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.artifacts.streams import read_exactly, span
from queueing.errors import ArtifactInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MOST_SIGNATURE_BYTES: Final = 1 << 20
_LARGEST_BYTES: Final = (1 << 32) - (64 << 10)
"""Offsets are of 32 bits; some room for the signature."""

_HEADER: Final = struct.Struct("<4sIIIIIBBHHHHH")
"""CFHEADER: signature, reserved, size, reserved, offset of the files, reserved, version (2), folders, files, flags, set, number."""

_FOLDER_BYTES: Final = 8
_OTHER_CABINETS: Final = 0x0003  # cfhdrPREV_CABINET, cfhdrNEXT_CABINET
_RESERVE_PRESENT: Final = 0x0004
_RESERVE: Final = struct.Struct("<HBBIIIQ")
"""Sizes of the reserves of header, folders and data; then the header's: a mark, offset and size of the signature, zeros."""

_MARK: Final = 0x00100000
_ALIGNMENT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CabFile:
    """Layout of a cabinet. ``header``: its 36 bytes in the signed form; ``folders``: as in the signed form."""

    header: bytes
    folders: bytes
    data_at: int
    content_end: int
    signatures: tuple[bytes, ...]

    @property
    def many_signatures(self) -> bool:
        """A cabinet has room for one signature."""
        return False

    @property
    def can_append(self) -> bool:
        """A cabinet has room for one signature."""
        return False

    def digest(self, stream: BinaryIO, hash_name: str) -> bytes:
        """Authenticode digest of the file; reads it once."""
        digest = self._digest_of_header(hash_name)
        for chunk in self._content(stream):
            digest.update(chunk)
        return digest.digest()

    def _digest_of_header(self, hash_name: str) -> hashlib._Hash:
        digest = hashlib.new(hash_name)
        digest.update(self.header[:4])  # the reserved field behind it is left out
        digest.update(self.header[8:34])  # and so is the number in the set
        digest.update(bytes(4))  # end of the reserve
        return digest

    def write(self, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str) -> bytes:
        """Write the file with its signature; returns the Authenticode digest."""
        (signature,) = signatures
        padded = signature + bytes(-len(signature) % _ALIGNMENT)
        (size_bytes,) = struct.unpack_from("<I", self.header, 8)
        if size_bytes + len(padded) >= 1 << 32:
            raise ArtifactInvalid("the signed file would be larger than 4 GiB, which a cabinet cannot be")
        to.write(self.header)
        to.write(_RESERVE.pack(_RESERVE.size - 4, 0, 0, _MARK, size_bytes, len(padded), 0))
        digest = self._digest_of_header(hash_name)
        for chunk in self._content(stream):
            to.write(chunk)
            digest.update(chunk)
        to.write(padded)
        return digest.digest()

    def _content(self, stream: BinaryIO) -> Iterator[bytes]:
        yield self.folders
        yield from span(stream, self.data_at, self.content_end)


def read_cab(stream: BinaryIO, size_bytes: int) -> CabFile:
    """Layout of a cabinet. Raises ``ArtifactInvalid`` for one that cannot be signed."""
    if size_bytes > _LARGEST_BYTES:
        raise ArtifactInvalid(f"the file has {size_bytes} bytes; a cabinet ends below 4 GiB")
    fields = list(_HEADER.unpack(read_exactly(stream, 0, _HEADER.size)))
    magic, _, content_end, _, files_at, _, _, _, folders, _, flags, _, _ = fields
    if magic != b"MSCF":
        raise ArtifactInvalid("this is no cabinet: it does not begin with MSCF")
    if flags & _OTHER_CABINETS:
        raise ArtifactInvalid("the cabinet is part of a set, which is not supported; make one cabinet")
    signatures: tuple[bytes, ...] = ()
    folders_at, moved = _HEADER.size, _RESERVE.size
    if flags & _RESERVE_PRESENT:
        signatures = _signatures(stream, content_end, size_bytes)
        folders_at, moved = _HEADER.size + _RESERVE.size, 0
    elif content_end != size_bytes:
        raise ArtifactInvalid(
            f"the file has {size_bytes} bytes, and the cabinet says {content_end}: it is truncated, or other data follows it"
        )
    data_at = folders_at + folders * _FOLDER_BYTES
    if files_at != data_at or files_at > content_end:
        raise ArtifactInvalid("the cabinet is damaged: its files do not follow its folders")
    fields[2] += moved
    fields[4] += moved
    fields[10] |= _RESERVE_PRESENT
    return CabFile(
        header=_HEADER.pack(*fields),
        folders=_moved(read_exactly(stream, folders_at, folders * _FOLDER_BYTES), moved, content_end),
        data_at=data_at,
        content_end=content_end,
        signatures=signatures,
    )


def _moved(folders: bytes, by: int, content_end: int) -> bytes:
    """CFFOLDERs with their data so many bytes further behind."""
    changed = bytearray(folders)
    for at in range(0, len(folders), _FOLDER_BYTES):
        (data_at,) = struct.unpack_from("<I", folders, at)
        if data_at > content_end:
            raise ArtifactInvalid("the cabinet is truncated: a folder's data begins behind its end")
        struct.pack_into("<I", changed, at, data_at + by)
    return bytes(changed)


def _signatures(stream: BinaryIO, content_end: int, size_bytes: int) -> tuple[bytes, ...]:
    """The signature in the reserve. Raises ``ArtifactInvalid`` for a reserve of another use."""
    raw = read_exactly(stream, _HEADER.size, _RESERVE.size)
    header_bytes, folder_bytes, data_bytes, mark, at, size, rest = _RESERVE.unpack(raw)
    if (header_bytes, folder_bytes, data_bytes, mark, rest) != (_RESERVE.size - 4, 0, 0, _MARK, 0):
        raise ArtifactInvalid(
            "the cabinet has reserved space of another use, at the place of the signature; make it without"
        )
    if at != content_end or at + size != size_bytes or not 0 < size <= MOST_SIGNATURE_BYTES:
        raise ArtifactInvalid("the cabinet's signature is damaged, or not at its end; make the cabinet again")
    return (read_exactly(stream, at, size),)
