"""Search in a bundle: outcomes by digest, key, client, job or time; events by kind, key, client or time. Nothing is verified by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import job_id_of
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.entries import OutcomeEntry, decode_entry
from queueing.transparency.event_entries import (
    EventEntry,
    KeyEntry,
    LaneOperationsEntry,
    RefusedEntry,
    StopOrderEntry,
)
from queueing.transparency.notes import read_note
from queueing.transparency.tiles import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.protocol.envelope import Envelope
    from workers.record.bundle.reader import BundleReader
    from workers.record.items import ItemRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Conditions that must all hold; empty ones do not count. Times in Unix ms, the end exclusive."""

    digest: bytes = b""
    key: str = ""
    client: str = ""
    job_id: str = ""
    from_ms: int = 0
    to_ms: int | None = None

    def matches(self, entry: OutcomeEntry, envelope: Envelope) -> bool:
        """Whether an outcome with this envelope is looked for."""
        return (
            self.from_ms <= entry.at_ms < (entry.at_ms + 1 if self.to_ms is None else self.to_ms)
            and self.key in {"", envelope.key}
            and self.client in {"", envelope.client}
            and (not self.digest or self.digest in envelope.digests)
            and self.job_id in {"", job_id_of(envelope.tenant, envelope.idempotency_key)}
        )


@dataclass(frozen=True, slots=True)
class Match:
    """An outcome that was looked for: its entry, its items and their envelope."""

    origin: str
    index: int
    entry: OutcomeEntry
    row: ItemRow
    envelope: Envelope


def search(reader: BundleReader, query: Query) -> Iterator[Match]:
    """Matching outcomes of one origin, in order. Raises ``ProofInvalid`` where a file cannot be read."""
    for block, entries in _blocks(reader):
        for row in reader.rows(block):
            number = row.outcome - block * WIDTH
            entry = decode_entry(entries[number]) if 0 <= number < len(entries) else None
            envelope = _envelope_of(row)
            if isinstance(entry, OutcomeEntry) and envelope is not None and query.matches(entry, envelope):
                yield Match(reader.name, row.outcome, entry, row, envelope)


def _envelope_of(row: ItemRow) -> Envelope | None:
    try:
        return read_unverified(row.sealed).envelope
    except SigningError:
        return None  # nothing of it was signed


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Kinds of events, one of which it must be, and conditions that must all hold; empty ones do not count."""

    kinds: frozenset[str]
    key: str = ""
    client: str = ""
    from_ms: int = 0
    to_ms: int | None = None

    def matches(self, entry: EventEntry) -> bool:
        """Whether this event is looked for. Of an event without keys or without a client none is."""
        return (
            entry.kind in self.kinds
            and self.from_ms <= entry.at_ms < (entry.at_ms + 1 if self.to_ms is None else self.to_ms)
            and (not self.key or self.key in _keys_of(entry))
            and self.client in {"", getattr(entry, "client", None)}
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
        case KeyEntry() | RefusedEntry():
            return {entry.key}
        case LaneOperationsEntry():
            return {key for key, _, _ in entry.operations}
        case StopOrderEntry(scope="key"):
            return {entry.name}
    return set()
