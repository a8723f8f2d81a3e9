"""Bundle: a part of a tenant's log as a folder that proves itself, in C2SP's layout (tlog-tiles).

::

    ORIGIN/checkpoint          signed head of the tree
    ORIGIN/origin              whole name of the log, with the tenant; written before anything else of it
    ORIGIN/range               first and last entry (decimal, exclusive)
    ORIGIN/minimum             first entry that the host still had (decimal), 0 unless retention has removed older ones
    ORIGIN/tile/L/N            hashes; level 0 of the range and of the right edge, all of the levels above
    ORIGIN/tile/entries/N      entries of the range, rounded to whole bundles of 256
    ORIGIN/statements/NAME     the service key's statements about the keys that sign checkpoints
    ORIGIN/items/N             item rows of the outcomes in bundle N, each with its length as u32 big endian before it

``ORIGIN`` is the last part of the origin's name, the same for all tenants of a host. Logs of several hosts lie beside each other in
one folder, and never logs of several tenants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import LogUnavailable, OutputUnwritable, ProofInvalid
from queueing.files.beneath import replace_beneath
from queueing.files.durable_file import OWNER_ONLY_FOLDER
from queueing.files.folders import entries as files_of
from queueing.files.regular_file import read_regular, read_whole
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.notes import MAX_NOTE_BYTES, read_note
from queueing.transparency.receipts import tenant_of_origin
from queueing.transparency.tiles import WIDTH, bundle_path, encode_bundle, index_path, tile_path, tiles_of
from workers.record.bundle.earlier import check_covered, remove_replaced
from workers.record.bundle.others import ORIGIN_FOLDER, README
from workers.record.exchange import STATEMENTS, statement_files
from workers.record.integrity.blocks import DamagedPlace, damage_of_block
from workers.record.items import encode_row
from workers.record.retention.minimum import EntriesRemoved, removed_sentence
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes
from workers.record.volumes import ROW_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.record.items import ItemRow

MOST_DAMAGE: Final = 100
"""Damaged places that are named; a lost disk has more."""

_MOST_ORIGIN_BYTES: Final = 4096

_README_TEXT: Final = """\
A part of the record of a Sigmill service: signed checkpoints, entries, and hashes in C2SP's layout (c2sp.org/tlog-tiles).
Entries hold no digests; the folder `items` does, with client signatures: it is for the tenant, and for whom the tenant
shows it to. Verify it offline:

    sigmill audit verify --service-key FILE THIS_FOLDER

FILE has the service key as it is in `service_public_keys` of your client.toml; take it from there, not from here.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """A written bundle: its checkpoint, and the range of its entries (the end exclusive).

    ``minimum``: the first entry that this host still has; 0 where retention has removed none. ``damage``: places of the log whose
    entries and hashes differ, ``MOST_DAMAGE`` at most; the bundle has them as they are, and its verification finds them.
    ``rows_with_more``: item rows of which this build has read, and written, a part.
    """

    checkpoint: Checkpoint
    first: int
    end: int
    minimum: int
    damage: tuple[DamagedPlace, ...] = ()
    rows_with_more: int = 0


class GivenUp(LogUnavailable):
    """The record was given up for a new one while it was exported: what was written is a part of both."""

    hint = "Export again into another folder; the former record with --former, by its name in `sigmill audit status`."


class FolderOfAnother(OutputUnwritable):
    """The folder has a bundle of another tenant, or of an unknown one: what is in it would be given away."""

    hint = "Give each tenant a folder of its own."


@dataclass(frozen=True, slots=True)
class _OriginFolder:
    """Folder of one origin in the bundle ``out``; no link in the bundle is followed."""

    out: Path
    origin: str

    def write(self, name: str, data: bytes, *, sync: bool = False) -> None:
        """Replace a file; with ``sync`` durably. Raises ``OSError``."""
        names = (self.origin, *name.split("/"))
        replace_beneath(self.out, names, data, folder_mode=OWNER_ONLY_FOLDER, sync=sync)


def export(log_folder: Path, out: Path, *, from_ms: int = 0, to_ms: int | None = None) -> Exported:
    """Write the entries from ``from_ms`` to ``to_ms`` (exclusive; Unix ms) with their proof below ``out``.

    The range goes from the first entry of this time to the last one, and has all in between, whatever their clock said.
    Each entry is held against its hash. O(entries of the range). Raises ``FolderOfAnother``, ``OtherEntries``, ``EntriesRemoved`` where retention has removed all of it, or a part
    meanwhile, ``GivenUp``, ``ProofInvalid`` where the log's files are damaged, or ``OSError``.
    """
    note = read_regular(log_folder / "checkpoint", largest_bytes=MAX_NOTE_BYTES)
    checkpoint = read_checkpoint(read_note(note).text)
    stored = StoredEntries(log_folder, checkpoint.size)
    first = stored.first_since(from_ms)
    end = checkpoint.size if to_ms is None else stored.end_before(to_ms)
    if stored.minimum and end <= stored.minimum:
        raise EntriesRemoved(removed_sentence(stored.minimum))
    first -= first % WIDTH
    end = min(-(-end // WIDTH) * WIDTH, checkpoint.size)
    _check_tenant(out, tenant_of_origin(checkpoint.origin))
    folder = _OriginFolder(out, checkpoint.origin.rpartition("/")[2])
    written = range(first, max(first, end))
    check_covered(out, folder.origin, checkpoint.size, written)
    folder.write("origin", f"{checkpoint.origin}\n".encode())
    hashes = StoredHashes(log_folder)
    _write_tiles(folder, hashes, checkpoint.size, first // WIDTH, -(-end // WIDTH))
    damage = _write_entries(folder, stored, hashes, written)
    _write_items(folder, stored, first, end)
    for statement in statement_files(log_folder):
        folder.write(f"{STATEMENTS}/{statement.name}", read_whole(statement))
    now = newest_checkpoint(log_folder)
    if now is None or now.origin != checkpoint.origin:
        raise GivenUp(f"{checkpoint.origin} was given up for another record")
    replace_beneath(out, (README,), _README_TEXT.encode(), sync=True)
    folder.write("minimum", f"{stored.minimum}\n".encode())
    folder.write("range", f"{written.start} {written.stop}\n".encode())
    folder.write("checkpoint", note, sync=True)
    remove_replaced(out, folder.origin, checkpoint.size, written)
    return Exported(
        checkpoint, written.start, written.stop, stored.minimum, tuple(damage), stored.rows_with_more
    )


def _check_tenant(out: Path, tenant: str) -> None:
    """Check that ``out`` has no log of another tenant. Raises ``FolderOfAnother``, or ``OSError``."""
    for folder in files_of(out, missing_ok=True):
        if ORIGIN_FOLDER.fullmatch(folder.name) and not folder.is_symlink():  # of a link nothing is written
            theirs = _tenant_in(folder)
            if theirs != tenant:
                of = (
                    f"the record of {theirs}"
                    if theirs
                    else "a record that does not say of which tenant it is"
                )
                raise FolderOfAnother(f"{out} has {of}")


def _tenant_in(folder: Path) -> str:
    """Tenant of a log in a bundle, as its name says; empty where it says nothing. Raises ``OSError``."""
    try:
        line = read_regular(folder / "origin", largest_bytes=_MOST_ORIGIN_BYTES).decode()
        return tenant_of_origin(line.removesuffix("\n"))
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, ProofInvalid):
        return ""


def _write_tiles(folder: _OriginFolder, hashes: StoredHashes, size: int, first: int, end: int) -> None:
    for level, index, width in tiles_of(size):
        if level == 0 and not first <= index < end and width == WIDTH:
            continue
        data = b"".join(hashes.hashes(level, index * WIDTH, width))
        folder.write(tile_path(level, index, width), data)


def _write_entries(
    folder: _OriginFolder, stored: StoredEntries, hashes: StoredHashes, wanted: range
) -> list[DamagedPlace]:
    """Write the entries in bundles; returns the first places where they are not those of the hashes."""
    batch: list[bytes] = []
    damage: list[DamagedPlace] = []
    for index, entry in stored.entries(wanted.start):
        if index >= wanted.stop:
            break
        batch.append(entry)
        if len(batch) == WIDTH or index == wanted.stop - 1:
            folder.write(bundle_path(index // WIDTH, len(batch)), encode_bundle(batch))
            if len(damage) < MOST_DAMAGE:
                damage += damage_of_block(hashes, index // WIDTH, batch)
            batch = []
    return damage[:MOST_DAMAGE]


def _write_items(folder: _OriginFolder, stored: StoredEntries, first: int, end: int) -> None:
    number, parts = -1, list[bytes]()
    for row in _rows_until(stored, first, end):
        if row.outcome // WIDTH != number:
            _write_rows(folder, number, parts)
            number, parts = row.outcome // WIDTH, []
        encoded = encode_row(row)
        parts += [ROW_LENGTH.pack(len(encoded)), encoded]
    _write_rows(folder, number, parts)


def _rows_until(stored: StoredEntries, first: int, end: int) -> Iterator[ItemRow]:
    for row in stored.rows(first):
        if row.outcome >= end:
            return
        yield row


def _write_rows(folder: _OriginFolder, number: int, parts: list[bytes]) -> None:
    if parts:
        folder.write(f"items/{index_path(number)}", b"".join(parts))


def newest_checkpoint(log_folder: Path) -> Checkpoint | None:
    """Head of a tenant's log on this host, not verified; None before the first, and where a power cut has taken it.

    Raises ``ProofInvalid``, or ``OSError``.
    """
    try:
        data = read_regular(log_folder / "checkpoint", largest_bytes=MAX_NOTE_BYTES)
    except FileNotFoundError:
        return None
    if not data.strip(b"\0"):
        return None  # it is not synced, and the sealer signs another one
    checkpoint = read_checkpoint(read_note(data).text)
    if checkpoint.size == 0:
        raise ProofInvalid("the checkpoint is of an empty log")
    return checkpoint
