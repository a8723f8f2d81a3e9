"""MSI packages: the Authenticode digest of a compound file, and the file with its signature as a stream of its root.

The digest covers the content of all streams but those of the signature, in the order of their names' bytes, and the CLSID of each
storage behind what is in it. Names, sizes and times are covered by a further stream (MsiDigitalSignatureEx), which is not
written; no tool but Windows' own writes it by default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from queueing.artifacts.compound_file import STORAGE, STREAM, CompoundFile, Entry, read_compound_file
from queueing.artifacts.compound_file_writing import name_order, write_compound_file
from queueing.errors import ArtifactInvalid
from queueing.protocol import der

if TYPE_CHECKING:
    from typing import BinaryIO

SUBJECT: Final = der.sequence(
    der.oid("1.3.6.1.4.1.311.2.1.30"),
    der.sequence(
        der.integer(1), der.octets(bytes.fromhex("f1100c0000000000c000000000000046")), *[der.integer(0)] * 5
    ),
)
"""SpcSipInfo with the GUID of MSI's subject interface package."""

_SIGNATURE: Final = "\x05DigitalSignature".encode("utf-16-le")
_EXTENDED: Final = "\x05MsiDigitalSignatureEx".encode("utf-16-le")
_NAMES: Final = (_SIGNATURE, _EXTENDED)
_PLACES: Final = tuple(map(name_order, _NAMES))
"""Names in other capital letters have the same places: readers find one entry or the other."""

_MOST_SIGNATURE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class MsiFile:
    """An MSI package. ``file``: without the streams of a signature."""

    file: CompoundFile
    signatures: tuple[bytes, ...]

    @property
    def many_signatures(self) -> bool:
        """A package has one stream for a signature."""
        return False

    @property
    def can_append(self) -> bool:
        """A package has one stream for a signature."""
        return False

    def digest(self, stream: BinaryIO, hash_name: str) -> bytes:
        """Authenticode digest of the package; reads it once."""
        digest = hashlib.new(hash_name)
        for piece in _hashed(self.file.root, stream):
            digest.update(piece)
        return digest.digest()

    def write(self, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str) -> bytes:
        """Write the package with its signature; returns the Authenticode digest, whose order needs another reading."""
        (signature,) = signatures
        added = Entry(
            name=_SIGNATURE,
            kind=STREAM,
            clsid=bytes(16),
            state=0,
            created=bytes(8),
            modified=bytes(8),
            size_bytes=len(signature),
            content=signature,
            runs=(),
            children=(),
        )
        root = replace(self.file.root, children=(*self.file.root.children, added))
        write_compound_file(replace(self.file, root=root), stream, to)
        return self.digest(stream, hash_name)


def read_msi(stream: BinaryIO, size_bytes: int) -> MsiFile:
    """Read a package. Raises ``ArtifactInvalid``."""
    file = read_compound_file(stream, size_bytes)
    kept, signatures = [], []
    for child in file.root.children:
        if name_order(child.name) not in _PLACES:
            kept.append(child)
        elif child.name not in _NAMES or child.kind != STREAM or child.size_bytes > _MOST_SIGNATURE_BYTES:
            raise ArtifactInvalid("the package has something else in the place of its signature")
        elif child.name == _SIGNATURE:
            signatures.append(b"".join(child.pieces(stream)))
    return MsiFile(replace(file, root=replace(file.root, children=tuple(kept))), tuple(signatures))


def _hashed(storage: Entry, stream: BinaryIO) -> Iterator[bytes]:
    for child in sorted(storage.children, key=lambda each: each.name + b"\0\0"):
        if child.kind == STORAGE:
            yield from _hashed(child, stream)
        else:
            yield from child.pieces(stream)
    yield storage.clsid
