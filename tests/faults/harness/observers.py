"""Observers: the module's log, the workers' logs and the write-ahead logs as events of a history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from queueing.errors import SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import decode_result
from tests.faults.history import Event, HsmSign, LaneEnded, Left, LogRecord
from tests.support.rig.shared_rig import signed_for_jobs
from workers.journal.records import (
    IntentRecord,
    OutcomeRecord,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    decode_record,
)
from workers.journal.segments import read_segment, segments_of

_LANE_ENDS = {"lane.ended", "lane.reload_overdue"}


def hsm_events(token: str, file: Path) -> Iterator[Event]:
    """The simulated HSM's own log; canaries are no job's (``tests/integration/worker/test_canaries``)."""
    for record in signed_for_jobs(file):
        yield HsmSign(
            at=record.at_us / 1e6,
            token=token,
            pid=record.pid,
            tail=record.input_tail,
            rv=record.rv,
            head=record.signature_head,
        )


def worker_events(worker: str, file: Path) -> Iterator[Event]:
    """Lane events and unexpected errors in the worker's structured log."""
    at = 0.0
    for line in file.read_text(errors="replace").splitlines():
        if not line.startswith("{"):
            if "Traceback (most recent call last)" in line:
                yield Left(at=at, what=f"a traceback in the log of {worker}")
            continue
        entry = json.loads(line)
        at = datetime.fromisoformat(entry["ts"]).timestamp()
        if "exception" in entry:
            yield Left(at=at, what=f"an exception in the log of {worker}: {entry['event']}")
        if entry["event"] in _LANE_ENDS:
            yield LaneEnded(
                at=at, worker=worker, token=entry["token"], reason=str(entry.get("reason") or entry["event"])
            )


def log_events(worker: str, folder: Path) -> Iterator[Event]:
    """The write-ahead log as it stands on the disk."""
    for segment in segments_of(folder):
        for raw in read_segment(segment):
            record = decode_record(raw)
            if isinstance(
                record, IntentRecord | OutcomeRecord | ReleasedRecord | ReturnedRecord | UnknownRecord
            ):
                yield _log_event(worker, record)


def _log_event(
    worker: str, record: IntentRecord | OutcomeRecord | ReleasedRecord | ReturnedRecord | UnknownRecord
) -> LogRecord:
    digests: tuple[bytes, ...] = ()
    signatures: tuple[bytes, ...] = ()
    result, how, code, maybe_signed, letter, dropped = b"", "", "", False, False, 0
    match record:
        case IntentRecord():
            digests = read_unverified(record.sealed).envelope.digests
        case OutcomeRecord():
            signatures, code = _signatures(record.result)
            result = hashlib.sha256(record.result).digest()
            letter, dropped = bool(record.dead_letter), record.dropped
        case ReleasedRecord():
            how = record.how
        case ReturnedRecord():
            maybe_signed = record.maybe_signed
        case UnknownRecord():
            pass
    return LogRecord(
        at=record.at_ms / 1000,
        worker=worker,
        what=str(record.__struct_config__.tag).lower(),  # type: ignore[arg-type]  # the five kinds
        tenant=record.tenant,
        job=record.job_id.decode("ascii", "replace"),
        lease=record.lease.decode("ascii", "replace"),
        digests=digests,
        signatures=signatures,
        result=result,
        how=how,
        maybe_signed=maybe_signed,
        code=code,
        dead_letter=letter,
        dropped=dropped,
    )


def _signatures(result: bytes) -> tuple[tuple[bytes, ...], str]:
    """The signatures of a result, empty where a digest was refused; none where the whole job was, and its error."""
    outcome = decode_result(result).outcome
    if isinstance(outcome, SigningError):
        return (), outcome.reason
    return tuple(signature or b"" for signature in outcome.signatures), ""
