"""Pruning: whole volumes of a log that are old by the policy are removed, in order, from the oldest on.

A volume goes when a mark says that it has been full for as long as entries are kept, and the certificates of all keys that signed
in it ended as long ago. The outcomes of its last intents are in a later volume: it stays until these are as old, too, so that no
outcome that is kept loses its intent. The steps: the new minimum is durable, the files go, the folders are synced. Each step is
repeated at the next call, so that what a crash has left is removed then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.durable_file import sync_folder
from queueing.transparency.entries import (
    CanaryEntry,
    EndEntry,
    IntentEntry,
    OutcomeEntry,
    decode_entry,
    read_head,
)
from queueing.transparency.event_entries import KeyEntry, WithoutIntentEntry
from workers.record.folder import LOGS_NAME
from workers.record.retention.clock import RecordClock
from workers.record.retention.marks import note_size, read_marks
from workers.record.retention.minimum import read_minimum, write_minimum
from workers.record.stored_entries import StoredEntries
from workers.record.volumes import VOLUME, volumes_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.record.retention.clock import Reading
    from workers.record.retention.policy import RetentionPolicy

_KINDS: Final = ("items", "entries", "level0")
"""Folders of which volumes are removed. Hashes of the levels above stay: 1/8 byte an entry."""


MOST_LATER: Final = 4 * VOLUME
"""Entries behind a volume in which the ends of its last intents are looked for: minutes of the busiest tenant, a second of reading.
An intent without an end by then (its record was damaged) is taken for one that ends there, under any key that signed meanwhile."""


@dataclass(frozen=True, slots=True)
class _Volume:
    """A volume as retention sees it: it is as old as entry ``last``, and is kept for the certificates of ``keys`` (SHA-256)."""

    last: int
    keys: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class PrunedLog:
    """A log of which entries were removed: those below ``minimum``."""

    tenant: str
    removed: int
    minimum: int


class Pruning:
    """Removes old volumes of the logs of one record. Blocks: for the process that writes the record, and no other.

    ``oldest_ms``: time of the oldest entry that is there, of all logs (Unix ms; 0 without one), as of the last ``run``.
    """

    def __init__(self, record: Path, clock: RecordClock | None = None) -> None:
        self._logs = record / LOGS_NAME
        self._clock = clock or RecordClock(record)
        self.oldest_ms = 0
        self.problems: list[str] = []
        self._volumes: dict[tuple[str, int], _Volume] = {}

    def run(self, sizes: Mapping[str, int], policy: RetentionPolicy | None) -> list[PrunedLog]:
        """Note the sizes of logs, all of it durable, and remove what is old; nothing without a policy.

        A log whose files are damaged, missing or not readable is in ``problems``, and costs itself: what was not removed of it is
        removed at the next call. Costs a small read for each log, and once the reading of a volume that is old enough. Raises
        ``OSError`` where the clock of the record cannot be read or kept.
        """
        self.problems.clear()
        now = self._clock.advance(self._newest_mark_ms(sizes))
        times, pruned = [], []
        for tenant, size in sizes.items():
            try:
                found = self._prune(tenant, size, now, policy)
                times += self._time_of_first(tenant, size)
            except (ProofInvalid, OSError) as error:
                self.problems.append(
                    f"{tenant}: {error.message if isinstance(error, ProofInvalid) else error}"
                )
                continue
            if found is not None:
                pruned.append(found)
        self.oldest_ms = min(times, default=0)
        return pruned

    def _prune(
        self, tenant: str, size: int, now: Reading, policy: RetentionPolicy | None
    ) -> PrunedLog | None:
        folder = self._logs / tenant
        note_size(folder, now.record_ms, size)
        minimum = before = read_minimum(folder)
        if policy is not None:
            minimum = self._due(tenant, size, before, now, policy)
        if minimum > before:
            write_minimum(folder, minimum)
        _remove_below(folder, minimum)
        return PrunedLog(tenant, minimum - before, minimum) if minimum > before else None

    def _time_of_first(self, tenant: str, size: int) -> list[int]:
        stored = StoredEntries(self._logs / tenant, size)
        found = next(stored.entries(stored.minimum), None)
        return [] if found is None else [read_head(found[1]).at_ms]

    def _newest_mark_ms(self, sizes: Mapping[str, int]) -> int | None:
        if self._clock.is_kept:
            return None
        marks = [marks[-1] for tenant in sizes if (marks := read_marks(self._logs / tenant))]
        return max((mark.record_ms for mark in marks), default=None)

    def _due(self, tenant: str, size: int, minimum: int, now: Reading, policy: RetentionPolicy) -> int:
        """The minimum that this log may have by now."""
        marks = read_marks(self._logs / tenant)

        def is_old(index: int) -> bool:
            """Whether this entry has been there for as long as entries are kept."""
            there_ms = next((mark.record_ms for mark in marks if mark.size > index), None)
            return there_ms is not None and now.record_ms - there_ms >= policy.retain_ms

        while minimum + VOLUME <= size and is_old(minimum + VOLUME - 1):
            volume = self._volume(tenant, minimum, size)
            if not is_old(volume.last):
                break
            ends = [policy.certificate_ends_ms.get(key, 0) for key in volume.keys]
            if min(now.record_ms, now.host_ms) < max(ends, default=0) + policy.retain_ms:
                break
            del self._volumes[tenant, minimum]
            minimum += VOLUME
        return minimum

    def _volume(self, tenant: str, first: int, size: int) -> _Volume:
        """The volume that begins at this entry. Read once."""
        known = self._volumes.get((tenant, first))
        if known is None:
            stored = StoredEntries(self._logs / tenant, size)
            known = self._volumes[tenant, first] = _read_volume(stored, first, size)
        return known


def _read_volume(stored: StoredEntries, first: int, size: int) -> _Volume:
    """The keys that signed, or were changed, in a volume, or that signed by its intents, and the last outcome of these."""
    end = first + VOLUME
    last, limit = end - 1, min(size, end + MOST_LATER)
    keys: set[bytes] = set()
    later_keys: set[bytes] = set()
    unended: set[int] = set()
    for index, data in stored.entries(first):
        if index >= end and not unended:
            return _Volume(last, frozenset(keys))
        if index >= limit:
            break
        entry = decode_entry(data)
        if isinstance(entry, IntentEntry) and index < end:
            unended.add(index)
        if isinstance(entry, OutcomeEntry) and entry.intent in unended:
            last = max(last, index)
            keys.add(entry.public_key_sha256)
        if isinstance(entry, OutcomeEntry | EndEntry):
            unended.discard(entry.intent)
        if isinstance(entry, OutcomeEntry | CanaryEntry | KeyEntry | WithoutIntentEntry):
            (keys if index < end else later_keys).add(entry.public_key_sha256)
    if unended and limit < size:
        return _Volume(limit - 1, frozenset(keys | later_keys))
    return _Volume(last, frozenset(keys))


def _remove_below(folder: Path, minimum: int) -> None:
    """Remove the volumes below ``minimum``, also those that a crash has left. Raises ``OSError``."""
    for kind in _KINDS:
        old = [file for number, file in volumes_of(folder / kind) if (number + 1) * VOLUME <= minimum]
        for file in old:
            file.unlink(missing_ok=True)
        if old:
            sync_folder(folder / kind)
