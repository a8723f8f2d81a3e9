"""Published checkpoints: the newest one of each tenant's log, as others on the host read it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.files.folders import entries, is_there
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.notes import read_note
from workers.record.exchange import Head
from workers.record.folder import LOGS_NAME
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from pathlib import Path


def published_heads(folder: Path) -> dict[str, Head]:
    """Head of each tenant's checkpoint in this folder of a record; a log whose checkpoint cannot be read has none.

    Raises ``OSError``.
    """
    heads: dict[str, Head] = {}
    logs = folder / LOGS_NAME
    for tenant in sorted(tenants_of(logs)) if is_there(logs) else []:
        with suppress(RecordDamaged):
            checkpoint = published_checkpoint(logs / tenant)
            if checkpoint is not None:
                heads[tenant] = Head.of(checkpoint)
    return heads


def tenants_of(folder: Path) -> set[str]:
    """Tenants with a folder in the folder of logs. Raises ``OSError``."""
    return {each.name for each in entries(folder) if each.is_dir()}


def published_checkpoint(folder: Path) -> Checkpoint | None:
    """Head that was published of the log in this folder; None where there is none. Raises ``RecordDamaged``, or ``OSError``."""
    try:
        data = (folder / "checkpoint").read_bytes()
    except FileNotFoundError:
        return None
    if not data.strip(b"\0"):
        return None  # a power cut took it: it is not synced, and what it covered is in the write-ahead log
    try:
        return read_checkpoint(read_note(data).text)
    except ProofInvalid:
        raise RecordDamaged(f"{folder / 'checkpoint'} cannot be read") from None


def publish_checkpoint(folder: Path, note: bytes) -> None:
    """Replace atomically, not durably: after a crash the log is made again to at least what was sealed."""
    path = folder / "checkpoint"
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(note)
    beside.replace(path)
