"""Receipts: one digest of a tenant's log with its proof, in one text of a few kB (C2SP tlog-proof).

The proof is that of the outcome entry of the digest's job. ``extra`` has what leads from the entry to the digest: the entry,
one salted item, and its path in the tree of the job's items. Nothing of the other digests of the job is in it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.commitments import (
    Item,
    item_leaf,
    item_salts,
    read_salted_item,
    salted_item,
)
from queueing.transparency.merkle import leaf_hash, root_of
from queueing.transparency.notes import read_note, signed_by_any
from queueing.transparency.proof_files import ProofFile, read_proof_file
from queueing.transparency.proofs import inclusion_proof, verify_inclusion
from queueing.transparency.tiles import WIDTH, TileHashes
from workers.record.entries import OutcomeEntry, decode_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.transparency.notes import VerifierKey
    from workers.record.bundle.reader import BundleReader
    from workers.record.bundle.search import Match


class _Extra(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    version: Literal[1] = 1
    entry: bytes
    salted_item: bytes
    count: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A verified receipt: the checkpoint, the outcome entry with its index, and the item."""

    checkpoint: Checkpoint
    index: int
    entry: OutcomeEntry
    item: Item


class _ItemHashes:
    """Hashes of the items of one job."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._leaves = leaves

    def subtree(self, level: int, index: int) -> bytes:
        return root_of(self._leaves[index << level : (index + 1) << level])


def make_receipt(reader: BundleReader, match: Match, number: int) -> bytes:
    """Receipt of digest ``number`` of a job in a bundle, as the bytes of a proof file. Raises ``ProofInvalid``."""
    note = reader.checkpoint()
    size = read_checkpoint(read_note(note).text).size
    block, inside = divmod(match.index, WIDTH)
    entry = reader.entries(block, min(WIDTH, size - block * WIDTH))[inside]
    items = match.row.items(match.envelope.digests)
    salts = item_salts(match.row.salt, len(items))
    leaves = [item_leaf(salt, item) for salt, item in zip(salts, items, strict=True)]
    extra = _Extra(
        entry=entry,
        salted_item=salted_item(salts[number], items[number]),
        count=len(items),
        path=tuple(inclusion_proof(_ItemHashes(leaves), number, len(items))),
    )
    proof = inclusion_proof(TileHashes(reader, size), match.index, size)
    return ProofFile(match.index, tuple(proof), note, msgspec.msgpack.encode(extra)).encode()


def verify_receipt(
    data: bytes, trusted: Sequence[VerifierKey], *, digest: bytes, signature: bytes | None = None
) -> Receipt:
    """Check that a log has this digest, and, where it is given, this signature over it. Raises ``ProofInvalid``."""
    proof = read_proof_file(data)
    note = read_note(proof.checkpoint)
    checkpoint = read_checkpoint(note.text)
    own = [key for key in trusted if key.name == checkpoint.origin]  # not those of other logs
    if not signed_by_any(note, own):
        raise ProofInvalid("the checkpoint of the receipt is signed by none of the trusted keys")
    extra = _read_extra(proof.extra)
    verify_inclusion(leaf_hash(extra.entry), proof.index, checkpoint.size, list(proof.proof), checkpoint.root)
    entry = decode_entry(extra.entry)
    if not isinstance(entry, OutcomeEntry):
        raise ProofInvalid("the entry of the receipt is no outcome")
    _, item = read_salted_item(extra.salted_item)
    if extra.count != entry.digests:
        raise ProofInvalid(
            f"the receipt is of one of {extra.count} digests, and the entry of {entry.digests}"
        )
    verify_inclusion(
        leaf_hash(extra.salted_item), item.number, extra.count, list(extra.path), entry.items_root
    )
    if not hmac.compare_digest(item.digest, digest):
        raise ProofInvalid("the receipt is of another digest")
    if signature is not None and not hmac.compare_digest(
        item.signature_sha256, hashlib.sha256(signature).digest()
    ):
        raise ProofInvalid("the receipt is of another signature over this digest")
    return Receipt(checkpoint, proof.index, entry, item)


def _read_extra(data: bytes) -> _Extra:
    try:
        return msgspec.msgpack.decode(data, type=_Extra)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the receipt has no entry and item in its extra data") from None
