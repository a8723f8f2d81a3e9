"""Additions to the logs of tenants: encoded entries, and the entries that events become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import ProofInvalid, SigningError
from queueing.protocol.jobs import JobOutcome, JobResult, decode_result
from queueing.transparency.entries import CanaryEntry, check_entry, encode_entry
from queueing.transparency.event_entries import (
    EVENT_KINDS,
    ConfigurationEntry,
    EventEntry,
    KeyEntry,
    LaneOperationsEntry,
    WithoutIntentEntry,
)
from workers.journal.event_records import ConfigurationRecord, KeyRecord, LaneOperationsRecord
from workers.journal.records import UnknownRecord
from workers.record.items import decode_row, encode_row
from workers.record.volumes import MAX_ENTRY_BYTES, MAX_ROW_BYTES

if TYPE_CHECKING:
    from queueing.transparency.entries import Entry
    from workers.journal.event_records import EventRecord
    from workers.journal.records import CanaryIntentRecord, CanaryOutcomeRecord, OutcomeRecord, ReturnedRecord
    from workers.record.items import ItemRow
    from workers.record.receipts.requests import ReceiptRequest


class Addition(msgspec.Struct, frozen=True):
    """Entry that a record adds to the log of a tenant, and its encoding; ``row``: the encoded items beside an outcome.

    ``receipt``: request for a receipt of a job that ends with this entry.
    """

    tenant: str
    entry: Entry
    data: bytes
    row: bytes | None = None
    receipt: ReceiptRequest | None = None


def addition(tenant: str, entry: Entry, row: ItemRow | None = None) -> Addition:
    """Encode an entry and its items. Raises ``ProofInvalid`` where a reader would refuse them, and with them the whole log."""
    data = encode_entry(entry)
    if len(data) > MAX_ENTRY_BYTES:
        raise ProofInvalid("the entry is too long")
    check_entry(entry, data)
    if row is None:
        return Addition(tenant, entry, data)
    encoded = encode_row(row)
    if len(encoded) > MAX_ROW_BYTES:
        raise ProofInvalid("the item row is too long")
    decode_row(encoded)
    return Addition(tenant, entry, data, encoded)


_KINDS: Final = {
    "Login": "login",
    "LaneStarted": "lane-started",
    "LaneEnded": "lane-ended",
    "Refused": "refused",
    "Unauthenticated": "unauthenticated",
    "Directory": "directory",
    "StopOrder": "order",
}
"""Kinds of entries by the tags of the records whose fields they have, under the same names."""


def event_entry(record: EventRecord) -> EventEntry:
    """Entry of an event. It is a function of the record alone, and never another one in a later version."""
    match record:
        case ConfigurationRecord():
            return ConfigurationEntry(
                at_ms=record.at_ms,
                scope="tenant" if record.tenant else "service",
                epoch=record.epoch,
                sha256=record.sha256,
                changed=record.changed,
            )
        case LaneOperationsRecord():
            operations = tuple((each.key, each.version, each.calls) for each in record.operations)
            return LaneOperationsEntry(at_ms=record.at_ms, lane=record.lane, operations=operations)
        case KeyRecord():
            return KeyEntry(
                at_ms=record.at_ms,
                event=record.event,
                key=record.key,
                key_version=record.version,
                public_key_sha256=record.public_key_sha256,
                statement_sha256=record.statement_sha256,
                witnesses=record.witnesses,
                by=record.by,
                changed=record.changed,
            )
    entry = EVENT_KINDS[_KINDS[str(record.__struct_config__.tag)]]
    fields = set(entry.__struct_fields__)
    return entry(**{name: value for name, value in msgspec.structs.asdict(record).items() if name in fields})


def result_of(record: OutcomeRecord) -> JobResult:
    """Result in an outcome; one that cannot be read is the error that says so."""
    try:
        return decode_result(record.result)
    except SigningError as error:
        return JobResult(error, b"")


def canary_entry(intent: CanaryIntentRecord, record: CanaryOutcomeRecord) -> CanaryEntry:
    """Entry of a canary that has ended."""
    return CanaryEntry(
        at_ms=record.at_ms,
        token=intent.token,
        key=intent.key,
        key_version=intent.version,
        public_key_sha256=intent.public_key_sha256,
        algorithm=intent.algorithm,
        outcome=record.outcome,
    )


def lost_outcome(record: OutcomeRecord, result: JobOutcome | SigningError) -> WithoutIntentEntry | None:
    """Entry of an outcome without an intent; None of a refusal before the intent, which has an event of its own."""
    if isinstance(result, JobOutcome):
        return WithoutIntentEntry(
            at_ms=record.at_ms,
            what="outcome",
            key=result.key,
            key_version=result.key_version,
            public_key_sha256=result.public_key_sha256,
            signed=sum(map(bool, result.signatures)),
            dropped=record.dropped,
        )
    if not record.dropped:
        return None
    return WithoutIntentEntry(at_ms=record.at_ms, what="outcome", dropped=record.dropped, code=result.reason)


def lost_canary(record: CanaryOutcomeRecord) -> WithoutIntentEntry:
    """Entry of a canary without an intent, which would say what key was tested. ``code`` is ``ok`` where it was signed."""
    signed = int(bool(record.signature))
    return WithoutIntentEntry(at_ms=record.at_ms, what="canary", signed=signed, code=record.outcome)


def lost_claim(record: ReturnedRecord | UnknownRecord) -> WithoutIntentEntry | None:
    """Entry of an end in doubt without an intent; None of a job that was requeued unsigned."""
    if isinstance(record, UnknownRecord):
        return WithoutIntentEntry(at_ms=record.at_ms, what="unknown")
    if not record.maybe_signed:
        return None
    return WithoutIntentEntry(at_ms=record.at_ms, what="returned-in-doubt")
