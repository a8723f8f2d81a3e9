"""Receipts made from a bundle, by the files of which they are verified nowhere else (``queueing.transparency.receipts``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.job_proofs import JobProof
from queueing.transparency.notes import read_note
from queueing.transparency.origin_statements import read_statement
from queueing.transparency.proofs import inclusion_proof
from queueing.transparency.short_statements import shortened
from queueing.transparency.tiles import WIDTH, TileHashes

if TYPE_CHECKING:
    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.notes import Note
    from workers.record.bundle.reader import BundleReader
    from workers.record.bundle.search import Match


def make_receipt(reader: BundleReader, match: Match, number: int) -> bytes:
    """Receipt of digest ``number`` of a job in a bundle, as the bytes of a proof file. Raises ``ProofInvalid``."""
    data = reader.checkpoint()
    note = read_note(data)
    checkpoint = read_checkpoint(note.text)
    block, inside = divmod(match.index, WIDTH)
    proof = JobProof(
        index=match.index,
        proof=tuple(inclusion_proof(TileHashes(reader, checkpoint.size), match.index, checkpoint.size)),
        checkpoint=data,
        entry=reader.entries(block, min(WIDTH, checkpoint.size - block * WIDTH))[inside],
        salt=match.row.salt,
        statement=_statement(reader, note, checkpoint),
    )
    receipts = proof.receipts(match.row.items(match.envelope.digests))
    return next(receipt for place, receipt in enumerate(receipts) if place == number)


def _statement(reader: BundleReader, note: Note, checkpoint: Checkpoint) -> bytes:
    """Short form of the newest statement about the key of this checkpoint; empty where there is none that is one."""
    for _, data in reader.statements():  # the newest one first
        try:
            statement = read_statement(read_note(data).text)
            if statement.head.size <= checkpoint.size and statement.epoch_key.is_signed(note):
                return shortened(data)
        except ProofInvalid:
            continue  # not verified here: a receipt without it says what it lacks
    return b""
