"""Receipts: one digest of a tenant's log with its proof, in one text of at most 2.5 kB (C2SP tlog-proof).

The proof is that of the outcome entry of the digest's job. ``extra`` has what leads from the entry to the digest, and from the
checkpoint to the service key: the entry, one salted item, its path in the tree of the job's items, and the service key's
statement about the key of the checkpoint, without what the checkpoint says too. Nothing of the job's other digests is in it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.commitments import Item, read_salted_item
from queueing.transparency.entries import OutcomeEntry, decode_entry
from queueing.transparency.merkle import leaf_hash
from queueing.transparency.notes import ECDSA, Note, VerifierKey, read_note, signed_by_any
from queueing.transparency.origin_statements import verify_statement
from queueing.transparency.proof_files import ProofFile, read_proof_file
from queueing.transparency.proofs import verify_inclusion
from queueing.transparency.short_statements import lengthened

if TYPE_CHECKING:
    from queueing.transparency.trusted_keys import TrustedKeys

MOST_RECEIPT_BYTES: Final = 2500
"""Of a job of 1,024 digests in a log of a million entries. Only a promise: a longer one is read."""

_ORIGIN_PARTS: Final = 3
"""At least: name of the log, tenant, and the log's random name."""


class ReceiptExtra(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """``extra`` of the proof file. ``path``: of the item in the tree of its job; ``statement``: shortened, else empty."""

    version: Literal[1] = 1
    entry: bytes
    salted_item: bytes
    count: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    path: tuple[bytes, ...]
    statement: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A verified receipt: the checkpoint, the outcome entry with its index, and the item."""

    checkpoint: Checkpoint
    index: int
    entry: OutcomeEntry
    item: Item

    @property
    def tenant(self) -> str:
        """Tenant of the log."""
        return tenant_of_origin(self.checkpoint.origin)


def tenant_of_origin(origin: str) -> str:
    """Tenant in the name of a log. Raises ``ProofInvalid`` for another kind of name."""
    parts = origin.split("/")
    if len(parts) < _ORIGIN_PARTS:
        raise ProofInvalid(f"{origin[:80]!r} is not the name of a tenant's log")
    return parts[-2]


def encode_receipt(proof: ProofFile, extra: ReceiptExtra) -> bytes:
    """A receipt's bytes: the proof of the entry, with ``extra`` in it."""
    return ProofFile(proof.index, proof.proof, proof.checkpoint, msgspec.msgpack.encode(extra)).encode()


def verify_receipt(
    data: bytes, trusted: TrustedKeys, *, digest: bytes, signature: bytes | None = None, tenant: str = ""
) -> Receipt:
    """Check that a log has this digest, and where they are given, that it is this signature's and this tenant's.

    ``digest`` as it was signed (32, 48 or 64 bytes), ``signature`` as the service returned it (ECDSA in DER). Offline.
    Raises ``ProofInvalid``.
    """
    proof = read_proof_file(data)
    note = read_note(proof.checkpoint)
    checkpoint = read_checkpoint(note.text)
    extra = _read_extra(proof.extra)
    verify_signer(note, checkpoint, extra.statement, trusted)
    receipt = _proven(proof, checkpoint, extra)
    if tenant and receipt.tenant != tenant:
        raise ProofInvalid(f"the receipt is of a log of another tenant: {receipt.tenant[:80]}")
    if not hmac.compare_digest(receipt.item.digest, digest):
        raise ProofInvalid("the receipt is of another digest")
    if signature is not None and not hmac.compare_digest(
        receipt.item.signature_sha256, hashlib.sha256(signature).digest()
    ):
        raise ProofInvalid("the receipt is of another signature over this digest")
    return receipt


def claimed_item(data: bytes) -> Item:
    """Item that a receipt says it is of; nothing of it is verified. Raises ``ProofInvalid``."""
    return read_salted_item(_read_extra(read_proof_file(data).extra).salted_item)[1]


def verify_signer(note: Note, checkpoint: Checkpoint, statement: bytes, trusted: TrustedKeys) -> None:
    """Check that a trusted key signed a checkpoint, or one that the (shortened) statement certifies for this log.

    Raises ``ProofInvalid``.
    """
    keys = [key for key in trusted.checkpoints if key.name == checkpoint.origin]  # not those of other logs
    if statement and trusted.service:
        keys.append(_certified(statement, checkpoint, trusted))
    if not signed_by_any(note, keys):
        lacking = "" if statement or not trusted.service else "; it has no statement of the service key"
        raise ProofInvalid(f"the checkpoint of the receipt is signed by none of the trusted keys{lacking}")


def _certified(statement: bytes, checkpoint: Checkpoint, trusted: TrustedKeys) -> VerifierKey:
    log_name = "/".join(checkpoint.origin.split("/")[:-2])
    service = [VerifierKey(f"{log_name}/service", ECDSA, spki) for spki in trusted.service]
    found = verify_statement(lengthened(statement, checkpoint.origin), service, checkpoint.origin)
    if found.head.size > checkpoint.size:
        raise ProofInvalid(
            "the service key certified the key of the receipt's checkpoint for later entries only"
        )
    if trusted.audience and found.audience != trusted.audience:
        raise ProofInvalid(f"the receipt is of another service: {found.audience[:80]}")
    return found.epoch_key


def _proven(proof: ProofFile, checkpoint: Checkpoint, extra: ReceiptExtra) -> Receipt:
    """The receipt whose entry is in the tree of the checkpoint, and whose item is in the tree of the entry."""
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
    return Receipt(checkpoint, proof.index, entry, item)


def _read_extra(data: bytes) -> ReceiptExtra:
    try:
        return msgspec.msgpack.decode(data, type=ReceiptExtra)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the receipt has no entry and item in its extra data") from None
