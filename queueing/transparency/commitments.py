"""Commitments of the record: what an entry says of an envelope and its digests without showing them.

Every job has 16 random bytes of salt. SHAKE-256 makes of it a salt of 32 bytes for each item, so that one item can be shown
without the others, and a digest cannot be guessed from what is published. An item is one digest of a job with its outcome.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import leaf_hash, root_of

SALT_BYTES: Final = 16
ITEM_SALT_BYTES: Final = 32
_ITEM_DOMAIN: Final = b"item"
_ENVELOPE_DOMAIN: Final = b"envelope"


class Item(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Digest number ``number`` of a job: ``signature_sha256`` is empty where it was not signed, and ``code`` says why."""

    number: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    digest: Annotated[bytes, msgspec.Meta(max_length=128)]
    signature_sha256: Annotated[bytes, msgspec.Meta(max_length=32)]
    code: Annotated[str, msgspec.Meta(max_length=64)] = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Item)


def item_salts(salt: bytes, count: int) -> list[bytes]:
    """Salts of the items of a job, 32 bytes each, in the order of its digests."""
    stream = hashlib.shake_256(salt + _ITEM_DOMAIN).digest(count * ITEM_SALT_BYTES)
    return [stream[at : at + ITEM_SALT_BYTES] for at in range(0, len(stream), ITEM_SALT_BYTES)]


def item_leaf(item_salt: bytes, item: Item) -> bytes:
    """Leaf hash of an item in the tree of its job."""
    return leaf_hash(item_salt + _encoder.encode(item))


def items_root(salt: bytes, items: list[Item]) -> bytes:
    """Root over the items of a job, in the order of its digests."""
    salts = item_salts(salt, len(items))
    return root_of([item_leaf(each, item) for each, item in zip(salts, items, strict=True)])


def envelope_commitment(salt: bytes, sealed: bytes) -> bytes:
    """Commitment to the bytes of an envelope: 32 bytes."""
    blind = hashlib.shake_256(salt + _ENVELOPE_DOMAIN).digest(ITEM_SALT_BYTES)
    return hashlib.sha256(blind + sealed).digest()


def read_salted_item(data: bytes) -> tuple[bytes, Item]:
    """Salt and item of one leaf, as a receipt has them. Raises ``ProofInvalid``."""
    salt, encoded = data[:ITEM_SALT_BYTES], data[ITEM_SALT_BYTES:]
    try:
        item = _decoder.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the item cannot be read") from None
    if _encoder.encode(item) != encoded:
        raise ProofInvalid("the item is not in its one encoding")
    return salt, item


def salted_item(item_salt: bytes, item: Item) -> bytes:
    """One leaf of the tree of a job: salt and item."""
    return item_salt + _encoder.encode(item)
