"""Pruning: whole volumes of a log that are old by the policy are removed, in order, from the oldest on.

A volume goes when a mark says that it has been full for as long as entries are kept, and the certificates of all keys that signed
in it ended as long ago. The steps: the new minimum is durable, the files go, the folders are synced. Each step is
repeated at the next call, so that what a crash has left is removed then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.durable_file import sync_folder
from queueing.transparency.entries import CanaryEntry, OutcomeEntry, decode_entry, read_head
from queueing.transparency.event_entries import KeyEntry
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
        self._keys: dict[tuple[str, int], frozenset[bytes]] = {}

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
        while minimum + VOLUME <= size:
            end = minimum + VOLUME
            full_ms = next((mark.record_ms for mark in marks if mark.size >= end), None)
            if full_ms is None or now.record_ms - full_ms < policy.retain_ms:
                break
            ends = [policy.certificate_ends_ms.get(key, 0) for key in self._keys_of(tenant, minimum, size)]
            if min(now.record_ms, now.host_ms) < max(ends, default=0) + policy.retain_ms:
                break
            del self._keys[tenant, minimum]
            minimum = end
        return minimum

    def _keys_of(self, tenant: str, first: int, size: int) -> frozenset[bytes]:
        """SHA-256 of the public keys that signed, or were changed, in the volume that begins at this entry. Read once."""
        known = self._keys.get((tenant, first))
        if known is None:
            stored = StoredEntries(self._logs / tenant, min(size, first + VOLUME))
            decoded = (decode_entry(data) for _, data in stored.entries(first))
            known = frozenset(
                entry.public_key_sha256
                for entry in decoded
                if isinstance(entry, OutcomeEntry | CanaryEntry | KeyEntry)
            )
            self._keys[tenant, first] = known
        return known


def _remove_below(folder: Path, minimum: int) -> None:
    """Remove the volumes below ``minimum``, also those that a crash has left. Raises ``OSError``."""
    for kind in _KINDS:
        old = [file for number, file in volumes_of(folder / kind) if (number + 1) * VOLUME <= minimum]
        for file in old:
            file.unlink(missing_ok=True)
        if old:
            sync_folder(folder / kind)
