"""Comparison of a log with a head of it that was certified before: an origin never goes back."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.transparency.proofs import range_root
from workers.record.folder import name_of
from workers.record.published import published_checkpoint
from workers.record.retention.minimum import EntriesRemoved
from workers.record.stored_hashes import StoredHashes
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.transparency.checkpoints import Checkpoint


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Head that a log does not continue, and a sentence that says why not."""

    known: Checkpoint
    why: str


def contradiction(folder: Path, known: Checkpoint, *, read_whole: bool) -> Contradiction | None:
    """Reason why the log in this folder is not the continuation of ``known``; None where it is.

    ``read_whole``: whether the sealer has read all of the write-ahead log that was there at its start: before that a log may be
    shorter than it was, after a power cut. Raises ``ProofInvalid`` where nothing can be said now, or ``OSError``.
    Where retention has removed what a root of that size is computed from, the log counts as the continuation.
    """
    try:
        here = published_checkpoint(folder)
    except RecordDamaged as damaged:
        raise ProofInvalid(str(damaged)) from None
    # After the checkpoint was read: a record is given up by one rename.
    given_up = name_of(folder.parent.parent) != known.origin.rpartition("/")[2]
    if given_up or (here is not None and here.origin != known.origin):
        raise ProofInvalid(f"the log {known.origin} was given up meanwhile")
    size = 0 if here is None else here.size
    if here is None or size < known.size:
        if not read_whole:
            raise ProofInvalid(
                f"the sealer has not read the write-ahead log to its end yet; {known.origin} had {known.size} entries"
            )
        return Contradiction(known, f"{known.origin} had {known.size} entries, and has {size} here")
    try:
        root = here.root if size == known.size else range_root(StoredHashes(folder), 0, known.size)
    except EntriesRemoved:
        return None
    if hmac.compare_digest(root, known.root):
        return None
    return Contradiction(
        known,
        f"the first {known.size} entries of {known.origin} are other ones here than those that were certified",
    )
