"""Outbox of receipts: files by which the sealer, which has no network, hands them to its worker, which publishes them.

``sealer/receipts/NUMBER+TENANT``: some receipts of one tenant. The worker removes what it has published. Not synced: after a
crash the sealer reads the last minute again, and makes its receipts once more.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.durable_file import make_folder
from queueing.files.folders import entries
from queueing.files.regular_file import read_regular
from queueing.protocol.names import Name
from workers.record.disk.misplaced import replace_by_rename
from workers.record.exchange import SEALER_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MOST_FILES: Final = 10_000
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all files: 50,000 jobs. A tenant may have as much as is free, at most half: 40 s of 600 jobs a second while Redis is away. So
receipts of a tenant whose shard is away do not take the room of others."""

MOST_FILE_BYTES: Final = 1024 * 1024
_ROOM_BYTES: Final = 256 * 1024
"""For the last receipt of a file and its fields."""


class OutboxFull(Exception):
    """The receipts that wait for their publication take all the room that there is for this tenant."""


class SealedReceipt(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """An encoded proof of a job's outcome, on its way. ``at_ms``: time of the outcome."""

    job_id: str
    at_ms: int
    released: bool
    proof: bytes


class _File(msgspec.Struct, frozen=True, kw_only=True):
    tenant: Name
    receipts: list[SealedReceipt]


class OutboxFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of receipts of one tenant."""

    path: Path
    tenant: str

    def read(self) -> list[SealedReceipt]:
        """Receipts in the file. Raises ``OSError``, or ``ValueError`` for anything else than a file of the sealer."""
        raw = read_regular(self.path, largest_bytes=MOST_FILE_BYTES + _ROOM_BYTES)
        try:
            found = msgspec.msgpack.decode(raw, type=_File)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if found.tenant != self.tenant:
            raise ValueError("it is of another tenant than its name")
        return found.receipts

    def remove(self) -> None:
        """Remove it. Raises ``OSError``."""
        self.path.unlink(missing_ok=True)


class ReceiptOutbox:
    """Outbox of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / SEALER_FOLDER / "receipts"
        self._next = 0

    def put(self, tenant: str, receipts: Sequence[SealedReceipt]) -> None:
        """Add receipts of a tenant, which may have no more room than it leaves to others.

        Raises ``OutboxFull``, or ``OSError``; receipts before the error are added.
        """
        for part in _parts(receipts):
            self._write(tenant, part)

    def _write(self, tenant: str, receipts: list[SealedReceipt]) -> None:
        make_folder(self._folder)
        files = entries(self._folder)
        own = [file for file in files if file.name.endswith(f"+{tenant}")]
        if len(files) + len(own) >= MOST_FILES or _bytes_of(files) + _bytes_of(own) >= MOST_BYTES:
            raise OutboxFull
        numbers = [int(file.name[:20]) for file in files if file.name[:20].isdecimal()]
        self._next = max(self._next, *numbers, 0) + 1
        data = msgspec.msgpack.encode(_File(tenant=tenant, receipts=receipts))
        replace_by_rename(self._folder / f"{self._next:020d}+{tenant}", data, draft="new")

    def files(self) -> list[OutboxFile]:
        """Files that wait to be published, the oldest first. Raises ``OSError``."""
        found = [(path, path.name.partition("+")[2]) for path in entries(self._folder, missing_ok=True)]
        return [OutboxFile(path=path, tenant=tenant) for path, tenant in found if tenant]


def _parts(receipts: Sequence[SealedReceipt]) -> Iterator[list[SealedReceipt]]:
    """Receipts in parts that fit into a file."""
    part: list[SealedReceipt] = []
    size = 0
    for receipt in receipts:
        part.append(receipt)
        size += len(receipt.proof) + len(receipt.job_id)
        if size >= MOST_FILE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _bytes_of(files: Sequence[Path]) -> int:
    return sum(_size(file) for file in files)


def _size(file: Path) -> int:
    with suppress(OSError):  # the worker has removed it meanwhile
        return file.stat().st_size
    return 0
