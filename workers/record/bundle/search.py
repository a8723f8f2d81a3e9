"""Search in a bundle: outcomes by digest, key, client, job or time. What is found is not verified by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import job_id_of
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.entries import OutcomeEntry, decode_entry
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
    size = read_checkpoint(read_note(reader.checkpoint()).text).size
    first, end = reader.range()
    if end > size or first % WIDTH:
        raise ProofInvalid(f"{reader.name}/range does not fit its checkpoint")
    for block in range(first // WIDTH, -(-end // WIDTH)):
        entries = reader.entries(block, min(WIDTH, size - block * WIDTH))
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
