"""Published checkpoints: the newest one of each tenant's log, as others on the host read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.folders import entries, is_there
from queueing.files.regular_file import NOT_A_FILE, read_regular
from queueing.protocol.names import is_name
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.merkle import HASH_BYTES
from queueing.transparency.notes import MAX_NOTE_BYTES, read_note
from queueing.transparency.receipts import tenant_of_origin
from workers.record.disk.misplaced import make_way, replace_by_rename
from workers.record.exchange import Head
from workers.record.folder import LOGS_NAME, read_sealed
from workers.record.retention.clock import FILE_NAME as CLOCK
from workers.record.volumes import EMPTY, VOLUME, RecordDamaged, volumes_of

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from workers.record.folder import Origin
    from workers.record.volumes import Position

_CHECKPOINT: Final = "checkpoint"


def published_heads(folder: Path) -> dict[str, Head]:
    """Head of each tenant's checkpoint in this folder of a record; a log whose checkpoint cannot be read, or is another's, has none.

    Raises ``OSError``.
    """
    heads: dict[str, Head] = {}
    logs = folder / LOGS_NAME
    for tenant in sorted(tenants_of(logs)) if is_there(logs) else []:
        try:
            checkpoint = _checkpoint_or_none(logs / tenant)
        except RecordDamaged:
            continue
        if checkpoint is not None and not other_tenant(checkpoint, tenant):
            heads[tenant] = Head.of(checkpoint)
    return heads


def other_tenant(checkpoint: Checkpoint, tenant: str) -> str:
    """Tenant of the log that the checkpoint is of, where it is not this one's: its folder is a copy. Empty where it is."""
    try:
        named = tenant_of_origin(checkpoint.origin)
    except ProofInvalid:
        return ""
    return "" if named == tenant else named


def copied_logs(folder: Path, origin: Origin, sealed: Container[str]) -> set[str]:
    """Folders in the folder of logs that a person has made by a copy of a tenant's, as ``acme.bak``: none of them is a log of the record.

    Each has the checkpoint of another tenant's log of this record, which is there under that tenant's name, and ``sealed``, the
    tenants whose logs were durable, does not have it. Any other folder with a checkpoint of another name may be a log that lost
    its own. Raises ``RecordDamaged``, or ``OSError``.
    """
    heads = {
        name: checkpoint
        for name in tenants_of(folder)
        if name not in sealed and (checkpoint := _checkpoint_or_none(folder / name)) is not None
    }
    return {
        name
        for name, head in heads.items()
        if (other := other_tenant(head, name))
        and head.origin == origin.of(other)
        and (other in sealed or (other in heads and heads[other].origin == head.origin))
    }


def _checkpoint_or_none(folder: Path) -> Checkpoint | None:
    """Head as ``published_checkpoint`` has it; None also where something else than a file is in its place. Raises ``RecordDamaged``, or ``OSError``."""
    try:
        return published_checkpoint(folder)
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        return None


def tenants_of(folder: Path) -> set[str]:
    """Tenants with a folder in the folder of logs; a folder that no tenant can have the name of is not ours. Raises ``OSError``."""
    return {each.name for each in entries(folder) if is_name(each.name) and each.is_dir()}


def published_checkpoint(folder: Path) -> Checkpoint | None:
    """Head that was published of the log in this folder; None where there is none. Raises ``RecordDamaged``, or ``OSError``."""
    try:
        data = read_regular(folder / _CHECKPOINT, largest_bytes=MAX_NOTE_BYTES)
    except FileNotFoundError:
        return None
    if not data.strip(b"\0"):
        return None  # a power cut took it: it is not synced, and what it covered is in the write-ahead log
    try:
        return read_checkpoint(read_note(data).text)
    except ProofInvalid:
        raise RecordDamaged(f"{folder / _CHECKPOINT} cannot be read") from None


def checkpoint_to_continue(folder: Path) -> Checkpoint | None:
    """Head as ``published_checkpoint`` has it, for the sealer; a pipe, a folder or a huge file in its place is put out of the way, and told.

    That costs what a checkpoint costs that a power cut took: a new one is signed. Raises ``RecordDamaged``, or ``OSError``.
    """
    try:
        return published_checkpoint(folder)
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
    make_way(folder / _CHECKPOINT)
    return None


def is_made_again(folder: Path, tenant: str) -> bool:
    """Whether the sealer has yet to make the last entries of a published checkpoint again, after a kill or a power cut.

    It cuts the files to ``sealed``, and reads the write-ahead log again from there. Files that have not even what was sealed are
    damaged, and are not made again. ``folder``: of the record. Raises ``OSError``.
    """
    log = folder / LOGS_NAME / tenant
    try:
        checkpoint, sealed = published_checkpoint(log), read_sealed(folder)
        present = _hashes(log)
    except FileNotFoundError:
        return True  # a volume was cut away meanwhile
    except RecordDamaged:
        return False
    if checkpoint is None or (sealed is None and is_there(folder / CLOCK)):
        return False
    kept = EMPTY if sealed is None else sealed.logs.get(tenant, EMPTY)
    return kept.size <= present < checkpoint.size and _is_kept(log, kept)


def _is_kept(log: Path, kept: Position) -> bool:
    """Whether the files of the open volume have at least the bytes of this position."""
    volume, inside = divmod(kept.size, VOLUME)
    lengths = {"entries": kept.entry_bytes, "items": kept.item_bytes} if inside else {}
    files = {log / kind / f"{volume:06d}.bin": length for kind, length in lengths.items() if length}
    return all(is_there(file) and file.stat().st_size >= length for file, length in files.items())


def _hashes(log: Path) -> int:
    """Number of leaf hashes in the files: they are written after the entries and items, and cut before them."""
    volumes = volumes_of(log / "level0")
    if not volumes:
        return 0
    number, file = volumes[-1]
    return number * VOLUME + file.stat().st_size // HASH_BYTES


def publish_checkpoint(folder: Path, note: bytes) -> None:
    """Replace atomically, not durably: after a crash the log is made again to at least what was sealed."""
    replace_by_rename(folder / _CHECKPOINT, note, draft=f"{_CHECKPOINT}.new")
