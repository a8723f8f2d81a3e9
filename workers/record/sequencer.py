"""Sequencer: makes entries and items of the records of the write-ahead log, in their order.

It is a function of the log's bytes: the same records give the same entries, whenever and however often they are read. An
intent is an entry of its own, so that each signature can be shown to have been on record before it was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast, get_args

import msgspec

from queueing.protocol.jobs import JobOutcome, ReceiptNotice
from queueing.protocol.names import Name
from queueing.transparency.commitments import envelope_commitment, items_root
from queueing.transparency.entries import (
    IN_DOUBT,
    EndEntry,
    IntentEntry,
    OpenedEntry,
    OutcomeEntry,
)
from workers.journal.event_records import ConfigurationRecord, EventRecord, LaneOperationsRecord
from workers.journal.records import (
    CanaryIntentRecord,
    CanaryOutcomeRecord,
    ClaimRecord,
    IntentRecord,
    OpenedRecord,
    OutcomeRecord,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
)
from workers.record.additions import (
    Addition,
    addition,
    canary_entry,
    event_entry,
    lost_canary,
    lost_claim,
    lost_outcome,
    result_of,
)
from workers.record.follower import Gap
from workers.record.gaps.told import ToldGaps, gap_entry
from workers.record.items import ItemRow, outcomes_of
from workers.record.open_intents import OpenIntents, Snapshot, put_back
from workers.record.receipts.requests import receipt_request

if TYPE_CHECKING:
    from queueing.transparency.event_entries import WithoutIntentEntry
    from workers.journal.records import Record
    from workers.record.folder import Origin

_EVENTS: Final = frozenset({*get_args(EventRecord), Gap})
_BEGINS: Final = frozenset({IntentRecord, CanaryIntentRecord})
"""Records that begin the log of a tenant."""

_ENDS: Final = frozenset({"committed", "repeated", "fenced"})
_RELEASED: Final = frozenset({"committed", "repeated"})


@dataclass(slots=True)
class Sequencer:
    """State between records: the size of each tenant's log, the open intents, and the gaps that were told.

    ``left_out``: whether the last record has signatures, or an event, that are in no log, or not whole.
    """

    origin: Origin
    sizes: dict[str, int] = field(default_factory=dict)
    left_out: bool = False
    _gaps: ToldGaps = field(default_factory=ToldGaps)
    _open: OpenIntents = field(init=False)

    def __post_init__(self) -> None:
        """Begin without open intents."""
        self._open = OpenIntents(self.origin.secret)

    def __len__(self) -> int:
        """Number of open claims."""
        return len(self._open)

    def add(self, record: Record | Gap) -> list[Addition]:
        """Entries that follow from the next record of the log, or from a gap in it; each is one more in its tenant's log.

        Raises anything for a wrong record, of which no entry can be made that can be read again; nothing is changed then.
        """
        self.left_out = False
        if isinstance(record, OpenedRecord):
            return []
        if type(record) in _EVENTS:  # a set: to ask for one of ten classes in turn costs a tenth of an entry
            return (
                self._add_gap(record) if isinstance(record, Gap) else self._event(cast("EventRecord", record))
            )
        record = cast("ClaimRecord", record)
        claim = record.job_id, record.lease
        size, opened_claim = self.sizes.get(record.tenant), self._open.claims.get(claim)
        canary = self._open.canaries.get(claim)
        try:
            opened = [] if record.tenant in self.sizes else self._opened(record)
            additions = self._additions(record)
        except BaseException:
            put_back(self.sizes, record.tenant, size)
            self._open.put_back(claim, opened_claim, canary)
            raise
        for each in additions:
            self.sizes[each.tenant] += 1
        return opened + additions if opened else additions

    def _add_gap(self, gap: Gap) -> list[Addition]:
        """Entries that tell of a gap, in every log that there is: it is not known whose records are lost."""
        entry = self._gaps.tell(gap)
        if entry is None:
            return []
        additions = [addition(tenant, entry) for tenant in sorted(self.sizes)]
        for each in additions:
            self.sizes[each.tenant] += 1
        return additions

    def add_wrong(self, record: Record | Gap, gap: Gap) -> list[Addition]:
        """Entry that tells of a record for which ``add`` has raised, in the log of its tenant if there is one."""
        if isinstance(record, OpenedRecord | Gap) or record.tenant not in self.sizes:
            return []
        self.sizes[record.tenant] += 1
        return [addition(record.tenant, gap_entry(gap, "wrong"))]

    def _opened(self, record: ClaimRecord) -> list[Addition]:
        """First entries of the log of a tenant that has none yet, where the record begins it."""
        if not record.tenant or type(record) not in _BEGINS:
            return []
        opening = self._opening(record.tenant, record.at_ms)
        self.sizes[record.tenant] = len(opening)
        return opening

    def _opening(self, tenant: str, at_ms: int) -> list[Addition]:
        """First entries of a tenant's log: its opening, and the gaps before it, in which there may have been records of this tenant.

        Raises ``msgspec.ValidationError`` for a wrong name: it names a folder.
        """
        msgspec.convert(tenant, Name)
        origin = self.origin
        entry = OpenedEntry(
            at_ms=at_ms, origin=origin.of(tenant), follows=origin.follows.get(tenant, ""), build=origin.build
        )
        gaps = [addition(tenant, each) for each in self._gaps.at_beginning(at_ms)]
        return [addition(tenant, entry), *gaps]

    def _event(self, record: EventRecord) -> list[Addition]:
        """Entry of an event in its tenant's log. A configuration of the service is in each log; other events of it are in none."""
        if record.tenant:
            tenants = [record.tenant]
        else:
            tenants = sorted(self.sizes) if isinstance(record, ConfigurationRecord) else []
            self.left_out = not tenants and not isinstance(
                record, LaneOperationsRecord
            )  # of these the end has the sum
        additions = []
        for tenant in tenants:
            if tenant not in self.sizes:
                additions += self._opening(tenant, record.at_ms)
            additions.append(addition(tenant, event_entry(record)))
        for each in additions:
            self.sizes[each.tenant] = self.sizes.get(each.tenant, 0) + 1
        return additions

    def _additions(self, record: ClaimRecord) -> list[Addition]:
        match record:
            case IntentRecord():
                return [self._intent(record)]
            case OutcomeRecord():
                return self._outcome(record)
            case ReleasedRecord():
                return self._end(record, record.how if record.how in _ENDS else "committed", record.at_ms)
            case ReturnedRecord():
                how = "returned-in-doubt" if record.maybe_signed else "returned"
                return self._end(record, how, record.at_ms)
            case UnknownRecord():
                canary = self._open.canaries.pop((record.job_id, record.lease), None)
                return [] if canary is not None else self._end(record, "unknown", record.at_ms)
            case CanaryIntentRecord():
                self._open.begin_canary(record)
            case CanaryOutcomeRecord():
                return self._canary(record)
        return []

    def _intent(self, record: IntentRecord) -> Addition:
        claim = self._open.begin(record, self.sizes[record.tenant])
        envelope = claim.envelope
        entry = IntentEntry(
            at_ms=record.at_ms,
            attempt=record.attempt,
            client="" if envelope is None else envelope.client,
            key="" if envelope is None else envelope.key,
            key_version=0 if envelope is None else envelope.key_version,
            algorithm="" if envelope is None else envelope.algorithm,
            digests=0 if envelope is None else len(envelope.digests),
            commitment=envelope_commitment(claim.salt, record.sealed),
        )
        return addition(record.tenant, entry)

    def _outcome(self, record: OutcomeRecord) -> list[Addition]:
        claim = self._open.claims.get((record.job_id, record.lease))
        decoded = result_of(record)
        result = decoded.outcome
        if claim is None:
            # Refused before its intent; or the intent is damaged, or of a segment that was removed.
            return self._without_intent(record, lost_outcome(record, result))
        digests = () if claim.envelope is None else claim.envelope.digests
        signatures, codes = outcomes_of(result, len(digests))
        row = ItemRow(
            outcome=self.sizes[claim.tenant],
            salt=claim.salt,
            sealed=claim.record.sealed,
            signatures=signatures,
            codes=codes,
        )
        entry = OutcomeEntry(
            at_ms=record.at_ms,
            intent=claim.intent,
            key_version=result.key_version if isinstance(result, JobOutcome) else 0,
            public_key_sha256=result.public_key_sha256 if isinstance(result, JobOutcome) else b"",
            digests=len(digests),
            signed=sum(map(bool, signatures)),
            items_root=items_root(claim.salt, row.items(digests)),
            code="" if isinstance(result, JobOutcome) else result.reason,
            dropped=record.dropped,
        )
        added = addition(claim.tenant, entry, row)
        claim.receipt = (
            receipt_request(record, claim.tenant, claim.salt, row.outcome, added.data)
            if decoded.receipt is ReceiptNotice.FOLLOWS
            else None
        )
        return [added]

    def _end(
        self, record: ReleasedRecord | ReturnedRecord | UnknownRecord, how: str, at_ms: int
    ) -> list[Addition]:
        claim = self._open.claims.pop((record.job_id, record.lease), None)
        if claim is None:
            return (
                [] if isinstance(record, ReleasedRecord) else self._without_intent(record, lost_claim(record))
            )
        row = None
        if how in IN_DOUBT:  # it is for the tenant to know which digests may have been signed, and for whom
            row = ItemRow(
                outcome=self.sizes[claim.tenant], salt=claim.salt, sealed=claim.record.sealed, signatures=()
            )
        added = addition(claim.tenant, EndEntry(at_ms=at_ms, kind=how, intent=claim.intent), row)  # type: ignore[arg-type]
        if claim.receipt is None:
            return [added]
        receipt = msgspec.structs.replace(claim.receipt, released=how in _RELEASED)
        return [msgspec.structs.replace(added, receipt=receipt)]

    def _canary(self, record: CanaryOutcomeRecord) -> list[Addition]:
        intent = self._open.canaries.pop((record.job_id, record.lease), None)
        if intent is None:
            return self._without_intent(record, lost_canary(record))
        if not intent.tenant:
            return []  # of the service's own token
        return [addition(intent.tenant, canary_entry(intent, record))]

    def _without_intent(self, record: ClaimRecord, entry: WithoutIntentEntry | None) -> list[Addition]:
        """The entry of what has no intent, in the log of its tenant, which may begin with it. The items stay in the write-ahead log alone."""
        if entry is None or not record.tenant:
            return []
        self.left_out = True
        told = [addition(record.tenant, entry)]
        if record.tenant in self.sizes:
            return told
        opening = self._opening(record.tenant, record.at_ms)
        self.sizes[record.tenant] = 0
        return [*opening, *told]

    def snapshot(self) -> bytes:
        """The state between two records, from which ``restored`` continues."""
        return Snapshot.of(self.sizes, self._open, gaps=self._gaps).encode()

    @classmethod
    def restored(cls, origin: Origin, snapshot: bytes) -> Sequencer:
        """The sequencer at the time of a snapshot. Raises ``msgspec.MsgspecError`` for anything else."""
        kept = Snapshot.decode(snapshot)
        sequencer = cls(origin, dict(kept.sizes), False, kept.told_gaps)
        kept.restore(sequencer._open)
        return sequencer
