"""Items of a job, beside its outcome entry: all that its tenant needs to check it, and that no other tenant may see.

A row holds the signed fields of the envelope, the client's signature, the digests, and for each digest the SHA-256 of its
signature or the code of its error. The envelope can be rebuilt from it byte by byte.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.errors import ProofInvalid, ResultInvalid, SigningError
from queueing.protocol.envelope import MAX_DIGESTS, read_unverified
from queueing.protocol.jobs import JobOutcome
from queueing.transparency.commitments import Item

if TYPE_CHECKING:
    from queueing.protocol.envelope import Envelope


class ItemRow(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Items of the job whose outcome is entry ``outcome``; ``sealed`` is its whole envelope, ``salt`` 16 bytes.

    A job that ends in doubt without an outcome has a row at its end: the envelope alone, to which its intent commits. Readers of
    former versions skip it, as there the end has none.

    The job id is not in it: it follows from the envelope (``queueing.protocol.jobs.job_id_of``), and everything here is proven.

    ``signatures``: SHA-256 of each signature, empty where there is none; ``codes``: reasons, empty where all were signed.
    """

    outcome: Annotated[int, msgspec.Meta(ge=0)]
    salt: Annotated[bytes, msgspec.Meta(max_length=16)]
    sealed: bytes
    signatures: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=32)], ...], msgspec.Meta(max_length=MAX_DIGESTS)
    ]
    codes: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=MAX_DIGESTS)
    ] = ()

    def envelope(self) -> Envelope | None:
        """The envelope, not verified; None where it cannot be read: nothing of it was signed."""
        try:
            return read_unverified(self.sealed).envelope
        except SigningError:
            return None

    def items(self, digests: tuple[bytes, ...]) -> list[Item]:
        """Items in the order of the envelope's digests. Raises ``ProofInvalid`` where their numbers differ."""
        count = len(digests)
        if len(self.signatures) != count or len(self.codes) not in {0, count}:
            raise ProofInvalid(
                f"the envelope has {count} digests, and the row {len(self.signatures)} outcomes"
            )
        return list(map(Item, range(count), digests, self.signatures, self.codes or ("",) * count))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ItemRow)


def encode_row(row: ItemRow) -> bytes:
    """Encode a row."""
    return _encoder.encode(row)


def decode_row(data: bytes) -> ItemRow:
    """Read a row. Raises ``ProofInvalid``."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the item row cannot be read") from None


def has_more(row: ItemRow, data: bytes) -> bool:
    """Whether the bytes of a row have more than what was read of them: fields of a later version, or something that was hidden there."""
    return len(data) > len(_encoder.encode(row))


_INTEGER_BYTES: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""Bytes of unsigned integers behind their first byte (the formats uint 8 to uint 64 of MessagePack)."""


def begun_outcome(begun: bytes) -> int | None:
    """Entry of the outcome of a row of which only the first bytes are there; None where they end before it.

    0 for what does not begin as a row does: it is damaged.
    """
    if len(begun) < 2:
        return None
    first = begun[1]
    if first < 0x80:
        return first
    size = _INTEGER_BYTES.get(first)
    if size is None:
        return 0
    number = begun[2 : 2 + size]
    return int.from_bytes(number) if len(number) == size else None


def outcomes_of(result: JobOutcome | SigningError, digests: int) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """Signatures and codes of a row, for an envelope with this number of digests."""
    if not isinstance(result, JobOutcome):
        return (b"",) * digests, (result.reason,) * digests
    made = result.signatures
    if len(made) != digests:
        made = (*made, *(None,) * digests)[:digests]
    signatures = tuple([b"" if each is None else hashlib.sha256(each).digest() for each in made])
    if all(signatures):
        return signatures, ()
    codes = ["" if signature else _code(result, number) for number, signature in enumerate(signatures)]
    return signatures, tuple(codes)


def _code(result: JobOutcome, number: int) -> str:
    error = result.errors.get(number)
    return ResultInvalid.reason if error is None else error.code[:64]
