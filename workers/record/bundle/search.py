"""Search in a bundle: jobs by digest, key, client, grant, job or time; events by kind, key, client or time. Nothing is verified by it.

Jobs are found by the items beside their outcome or their end in doubt: no entry has a digest, or the subject of a grant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.protocol.grants.owners import grant_of
from queueing.protocol.jobs import job_id_of
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.entries import EndEntry, OutcomeEntry, decode_entry
from queueing.transparency.event_entries import (
    EventEntry,
    KeyEntry,
    LaneOperationsEntry,
    RefusedEntry,
    StopOrderEntry,
    WithoutIntentEntry,
)
from queueing.transparency.notes import read_note
from queueing.transparency.tiles import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.protocol.envelope import Envelope
    from workers.record.bundle.reader import BundleReader
    from workers.record.items import ItemRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantQuery:
    """Conditions of the grant of an envelope, which must all hold; empty ones do not count. ``evidence_sha256``: 32 bytes."""

    issuer: str = ""
    subject: str = ""
    evidence_sha256: bytes = b""

    @property
    def is_empty(self) -> bool:
        """Whether there is no condition: envelopes without a grant are found, too."""
        return not (self.issuer or self.subject or self.evidence_sha256)

    def matches(self, envelope: Envelope) -> bool:
        """Whether this envelope is looked for."""
        if self.is_empty:
            return True
        grant = grant_of(envelope)
        return (
            grant is not None
            and self.issuer in {"", grant.issuer}
            and self.subject in {"", grant.subject}
            and self.evidence_sha256 in {b"", grant.evidence_sha256}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Conditions that must all hold; empty ones do not count. Times in Unix ms, the end exclusive."""

    digest: bytes = b""
    key: str = ""
    client: str = ""
    job_id: str = ""
    grant: GrantQuery = GrantQuery()
    from_ms: int = 0
    to_ms: int | None = None

    def matches(self, entry: OutcomeEntry | EndEntry, envelope: Envelope) -> bool:
        """Whether an outcome, or an end in doubt, with this envelope is looked for."""
        return (
            self.from_ms <= entry.at_ms < (entry.at_ms + 1 if self.to_ms is None else self.to_ms)
            and self.key in {"", envelope.key}
            and self.client in {"", envelope.client}
            and (not self.digest or self.digest in envelope.digests)
            and self.job_id in {"", job_id_of(envelope.tenant, envelope.idempotency_key)}
            and self.grant.matches(envelope)
        )


@dataclass(frozen=True, slots=True)
class Match:
    """A job that was looked for: its outcome, or its end in doubt, the items beside it and their envelope."""

    origin: str
    index: int
    entry: OutcomeEntry | EndEntry
    row: ItemRow
    envelope: Envelope


def search(reader: BundleReader, query: Query) -> Iterator[Match]:
    """Matching jobs of one origin, in the order of their outcomes. Raises ``ProofInvalid`` where a file cannot be read."""
    for block, entries in _blocks(reader):
        for row in reader.rows(block):
            number = row.outcome - block * WIDTH
            entry = decode_entry(entries[number]) if 0 <= number < len(entries) else None
            envelope = row.envelope()
            if (
                isinstance(entry, OutcomeEntry | EndEntry)
                and envelope is not None
                and query.matches(entry, envelope)
            ):
                yield Match(reader.name, row.outcome, entry, row, envelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Kinds of events, one of which it must be, and conditions that must all hold; empty ones do not count.

    ``issuer``, ``subject``: of stop orders against them; no other event has one.
    """

    kinds: frozenset[str]
    key: str = ""
    client: str = ""
    issuer: str = ""
    subject: str = ""
    from_ms: int = 0
    to_ms: int | None = None

    def matches(self, entry: EventEntry) -> bool:
        """Whether this event is looked for. Of an event without keys or without a client none is."""
        return (
            entry.kind in self.kinds
            and self.from_ms <= entry.at_ms < (entry.at_ms + 1 if self.to_ms is None else self.to_ms)
            and (not self.key or self.key in _keys_of(entry))
            and self.client in {"", getattr(entry, "client", None), _stopped(entry, "client")}
            and self.issuer in {"", _stopped(entry, "issuer")}
            and self.subject in {"", _stopped(entry, "subject")}
        )


@dataclass(frozen=True, slots=True)
class EventMatch:
    """An event that was looked for."""

    origin: str
    index: int
    entry: EventEntry


def search_events(reader: BundleReader, query: EventQuery) -> Iterator[EventMatch]:
    """Matching events of one origin, in order. Raises ``ProofInvalid`` where a file cannot be read."""
    for block, entries in _blocks(reader):
        for index, data in enumerate(entries, block * WIDTH):
            entry = decode_entry(data)
            if isinstance(entry, EventEntry) and query.matches(entry):
                yield EventMatch(reader.name, index, entry)


def _blocks(reader: BundleReader) -> Iterator[tuple[int, list[bytes]]]:
    """Number and entries of each block of the range. Raises ``ProofInvalid``."""
    size = read_checkpoint(read_note(reader.checkpoint()).text).size
    first, end = reader.range()
    if end > size or first % WIDTH:
        raise ProofInvalid(f"{reader.name}/range does not fit its checkpoint")
    for block in range(first // WIDTH, -(-end // WIDTH)):
        yield block, reader.entries(block, min(WIDTH, size - block * WIDTH))


def _keys_of(entry: EventEntry) -> set[str]:
    """Names of the keys that an event is about."""
    match entry:
        case KeyEntry() | RefusedEntry() | WithoutIntentEntry():
            return {entry.key}
        case LaneOperationsEntry():
            return {key for key, _, _ in entry.operations}
        case StopOrderEntry(scope="key"):
            return {entry.name}
        case StopOrderEntry(scope="version"):
            return {entry.name.partition("/")[0]}
    return set()


def _stopped(entry: EventEntry, scope: str) -> str | None:
    """Name that a stop order of this scope stops; None for other events."""
    return entry.name if isinstance(entry, StopOrderEntry) and entry.scope == scope else None
