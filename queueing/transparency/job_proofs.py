"""Proof of a job's outcome: what the sealer sends for all digests of a job, and its client makes receipts of.

It has the outcome entry with its inclusion proof and checkpoint, the salt of the job's items, and the service key's statement
in its short form: about 1.2 kB, whatever the number of digests. The client has digests and signatures already; with the salt
it builds the items, and their root must be the entry's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.commitments import SALT_BYTES, Item, item_salts, salted_item
from queueing.transparency.entries import OutcomeEntry, decode_entry
from queueing.transparency.merkle import HASH_BYTES, MAX_SIZE, leaf_hash, node_hash
from queueing.transparency.notes import read_note
from queueing.transparency.proof_files import MAX_HASHES, ProofFile
from queueing.transparency.proofs import inclusion_proof, range_root, verify_inclusion
from queueing.transparency.receipts import (
    ReceiptExtra,
    encode_receipt,
    tenant_of_origin,
    verify_signer,
)

if TYPE_CHECKING:
    from queueing.transparency.trusted_keys import TrustedKeys

MAX_JOB_PROOF_BYTES: Final = 128 * 1024
"""An entry may have 64 kB, and a note one signature line of each of many witnesses; ours have 2 kB together."""

_Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class JobProof(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Outcome entry number ``index`` of a log, with its proof. ``salt``: of the job's items; ``statement``: shortened."""

    version: Literal[1] = 1
    index: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    proof: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=MAX_HASHES)]
    checkpoint: bytes
    entry: bytes
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    statement: bytes = b""

    def encode(self) -> bytes:
        """The one encoding."""
        return msgspec.msgpack.encode(self)

    def verify(self, items: Sequence[Item], trusted: TrustedKeys, *, tenant: str) -> None:
        """Check that these items are those of an outcome in a log of ``tenant``. Raises ``ProofInvalid``."""
        entry = self.outcome(trusted, tenant=tenant)
        if entry.digests != len(items) or not self.is_of(items):
            raise ProofInvalid("the receipt is of other digests or signatures than those of this job")

    def outcome(self, trusted: TrustedKeys, *, tenant: str) -> OutcomeEntry:
        """The outcome that this proves to be in a log of ``tenant``, of whatever job. Raises ``ProofInvalid``."""
        note = read_note(self.checkpoint)
        checkpoint = read_checkpoint(note.text)
        if tenant_of_origin(checkpoint.origin) != tenant:
            raise ProofInvalid(f"the receipt is of the log {checkpoint.origin[:120]}, of another tenant")
        verify_signer(note, checkpoint, self.statement, trusted)
        verify_inclusion(
            leaf_hash(self.entry), self.index, checkpoint.size, list(self.proof), checkpoint.root
        )
        entry = decode_entry(self.entry)
        if not isinstance(entry, OutcomeEntry):
            raise ProofInvalid("the entry of the receipt is no outcome")
        return entry

    def is_of(self, items: Sequence[Item]) -> bool:
        """Whether the entry, as it is, has the root over these items. Nothing else of it is checked."""
        entry = decode_entry(self.entry)
        return isinstance(entry, OutcomeEntry) and _Items(self.salt, items).root() == entry.items_root

    def receipts(self, items: Sequence[Item]) -> Iterator[bytes]:
        """A receipt of each item, in order (``queueing.transparency.receipts``). O(digests · log(digests))."""
        tree = _Items(self.salt, items)
        proof = ProofFile(self.index, self.proof, self.checkpoint)
        for number, leaf in enumerate(tree.salted):
            extra = ReceiptExtra(
                entry=self.entry,
                salted_item=leaf,
                count=len(items),
                path=tuple(inclusion_proof(tree, number, len(items))),
                statement=self.statement,
            )
            yield encode_receipt(proof, extra)


def read_job_proof(data: bytes) -> JobProof:
    """Read a proof; nothing of it is verified. Raises ``ProofInvalid``."""
    if len(data) > MAX_JOB_PROOF_BYTES:
        raise ProofInvalid(f"the receipt has {len(data)} bytes, at most {MAX_JOB_PROOF_BYTES} are read")
    try:
        return msgspec.msgpack.decode(data, type=JobProof)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the receipt cannot be read") from None


class _Items:
    """Tree of the items of one job, with the roots of all its complete subtrees: 1,024 receipts need each of them often."""

    def __init__(self, salt: bytes, items: Sequence[Item]) -> None:
        self.salted = [
            salted_item(each, item) for each, item in zip(item_salts(salt, len(items)), items, strict=True)
        ]
        level = [leaf_hash(leaf) for leaf in self.salted]
        self._levels = [level]
        while len(level) > 1:
            level = [node_hash(*level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
            self._levels.append(level)

    def subtree(self, level: int, index: int) -> bytes:
        """Root of a complete subtree."""
        return self._levels[level][index]

    def root(self) -> bytes:
        """Root over all items."""
        return range_root(self, 0, len(self.salted))
