"""History of jobs from the record of a host, where the segments of the write-ahead log with them were removed.

Only jobs with items are found, which are those with an outcome or an end in doubt: an entry has no job id, and the items have the
envelope from which the id follows.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from queueing.protocol.jobs import job_id_of
from queueing.transparency.entries import EndEntry, IntentEntry, OutcomeEntry, decode_entry
from workers.audit.job_history import JobEvent, with_grant
from workers.record.folder import log_folder
from workers.record.published import published_checkpoint
from workers.record.stored_entries import StoredEntries
from workers.record.volumes import VOLUME, RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from queueing.protocol.envelope import Envelope
    from queueing.transparency.entries import Entry


def recorded_histories(
    state_dir: Path, owners: Mapping[bytes, str], *, since_s: float
) -> dict[bytes, list[JobEvent]]:
    """Events of jobs, by job id, of the logs of their tenants since a Unix time; ``owners``: tenants by job id.

    Reads all items since then: some hundred thousand jobs a second. A tenant without a log has no events. Raises ``ProofInvalid`` where
    files of a log are damaged, or ``OSError``.
    """
    events: dict[bytes, list[JobEvent]] = {job_id: [] for job_id in owners}
    for tenant in sorted(set(owners.values())):
        wanted = {job_id for job_id, owner in owners.items() if owner == tenant}
        stored = _log_of(state_dir, tenant)
        if stored is None:
            continue
        for row in stored.rows(stored.first_since(int(since_s * 1000))):
            envelope = row.envelope()
            job_id = b"" if envelope is None else job_id_of(tenant, envelope.idempotency_key).encode()
            if envelope is not None and job_id in wanted:
                events[job_id] += _events(stored, row.outcome, envelope)
    return events


def _log_of(state_dir: Path, tenant: str) -> StoredEntries | None:
    folder = log_folder(state_dir, tenant)
    try:
        checkpoint = published_checkpoint(folder)
    except RecordDamaged:
        return None
    return None if checkpoint is None else StoredEntries(folder, checkpoint.size)


def _events(stored: StoredEntries, index: int, envelope: Envelope) -> Iterator[JobEvent]:
    """Intent, outcome and end of the claim whose items are beside this entry; an intent that was removed is left out."""
    outcome = _entry(stored, index)
    if not isinstance(outcome, OutcomeEntry | EndEntry):
        return
    intent = _entry(stored, outcome.intent) if outcome.intent >= stored.minimum else None
    if isinstance(intent, IntentEntry):
        event = JobEvent(
            at_ms=intent.at_ms,
            what="intent",
            lease="",
            attempt=intent.attempt,
            client=intent.client,
            key=intent.key,
            key_version=intent.key_version or None,
            algorithm=intent.algorithm,
            digests=intent.digests,
            from_record=True,
        )
        yield with_grant(event, envelope)
    if isinstance(outcome, EndEntry):
        yield JobEvent(at_ms=outcome.at_ms, what=outcome.kind, lease="", from_record=True)
        return
    signed = None if outcome.code else outcome.signed
    yield JobEvent(
        at_ms=outcome.at_ms,
        what="outcome",
        lease="",
        signed=signed,
        failed=None if signed is None else outcome.digests - signed,
        code=outcome.code,
        dropped=outcome.dropped,
        from_record=True,
    )
    for _, data in itertools.islice(stored.entries(index + 1), VOLUME):
        entry = decode_entry(data)
        if isinstance(entry, EndEntry) and entry.intent == outcome.intent:
            yield JobEvent(at_ms=entry.at_ms, what=entry.kind, lease="", from_record=True)
            return


def _entry(stored: StoredEntries, index: int) -> Entry | None:
    return decode_entry(next(stored.entries(index))[1])
