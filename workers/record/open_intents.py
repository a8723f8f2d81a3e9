"""Open intents: claims and canaries whose intent is an entry of their tenant's log, until their end is.

With the sizes of the logs they are all that the sequencer knows between two records: ``Snapshot`` is both in bytes, from which a
restarted sealer continues.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from queueing.errors import SigningError
from queueing.protocol.envelope import read_unverified
from queueing.transparency.commitments import SALT_BYTES
from workers.journal.records import CanaryIntentRecord, IntentRecord, decode_record, encode_record
from workers.record.gaps.told import KnownGap, ToldGaps
from workers.record.receipts.requests import ReceiptRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.protocol.envelope import Envelope
    from workers.journal.open_claims import Claim

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class OpenIntent:
    """A claim whose intent is in the log; ``envelope`` None: it cannot be read, and the lane refuses it."""

    tenant: str
    intent: int
    record: IntentRecord
    salt: bytes
    envelope: Envelope | None
    receipt: ReceiptRequest | None = None


@dataclass(slots=True)
class OpenIntents:
    """Open intents of all tenants. ``secret`` salts intents of former versions, which have no salt of their own."""

    secret: bytes
    claims: dict[Claim, OpenIntent] = field(default_factory=dict)
    canaries: dict[Claim, CanaryIntentRecord] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of claims and canaries."""
        return len(self.claims) + len(self.canaries)

    def begin(self, record: IntentRecord, intent: int) -> OpenIntent:
        """Remember a claim whose intent is this entry of its tenant's log."""
        try:
            envelope = read_unverified(record.sealed).envelope
        except SigningError:
            envelope = None  # the lane refuses it; the record keeps that it was sent
        salt = record.salt or self._salt_of(record)
        claim = OpenIntent(record.tenant, intent, record, salt, envelope)
        self.claims[record.job_id, record.lease] = claim
        return claim

    def begin_canary(self, record: CanaryIntentRecord) -> None:
        """Remember a canary; its entry follows with its outcome."""
        self.canaries[record.job_id, record.lease] = record

    def put_back(self, claim: Claim, opened: OpenIntent | None, canary: CanaryIntentRecord | None) -> None:
        """Undo what a record has changed that cannot be read to its end."""
        put_back(self.claims, claim, opened)
        put_back(self.canaries, claim, canary)

    def _salt_of(self, record: IntentRecord) -> bytes:
        return hashlib.shake_256(self.secret + record.lease + b"\x00" + record.job_id).digest(SALT_BYTES)


def put_back(state: dict[K, V], key: K, before: V | None) -> None:
    """Set what was there before; remove what was not."""
    if before is None:
        state.pop(key, None)
    else:
        state[key] = before


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Open intents between two records, and the sizes of the logs.

    ``receipts``: of claims that have their outcome, by their place in ``open``. ``gaps``: segment of the last gap, and number of
    its gaps so far; ``known_gaps``: gaps that logs tell of which begin later.
    """

    sizes: dict[str, int]
    open: list[tuple[int, bytes]]
    canaries: list[bytes]
    receipts: dict[int, ReceiptRequest] = {}
    gaps: tuple[int, int] = (0, 0)
    known_gaps: list[KnownGap] = []

    @classmethod
    def of(cls, sizes: Mapping[str, int], intents: OpenIntents, *, gaps: ToldGaps | None = None) -> Snapshot:
        """The snapshot of this state."""
        gaps = gaps or ToldGaps()
        claims = intents.claims.values()
        return cls(
            sizes=dict(sizes),
            open=[(claim.intent, encode_record(claim.record)) for claim in claims],
            canaries=[encode_record(record) for record in intents.canaries.values()],
            receipts={
                number: claim.receipt for number, claim in enumerate(claims) if claim.receipt is not None
            },
            gaps=gaps.last,
            known_gaps=gaps.known,
        )

    @classmethod
    def decode(cls, raw: bytes) -> Snapshot:
        """Read what ``encode`` wrote. Raises ``msgspec.MsgspecError`` for anything else."""
        return msgspec.msgpack.decode(raw, type=cls)

    @property
    def told_gaps(self) -> ToldGaps:
        """Gaps that were told."""
        return ToldGaps(self.gaps, list(self.known_gaps))

    def encode(self) -> bytes:
        """The snapshot in bytes."""
        return msgspec.msgpack.encode(self)

    def restore(self, intents: OpenIntents) -> None:
        """Open the intents again."""
        for number, (intent, raw) in enumerate(self.open):
            record = decode_record(raw)
            if isinstance(record, IntentRecord):
                intents.begin(record, intent).receipt = self.receipts.get(number)
        for raw in self.canaries:
            record = decode_record(raw)
            if isinstance(record, CanaryIntentRecord):
                intents.begin_canary(record)
