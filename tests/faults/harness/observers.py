"""Observers: the module's log, the workers' logs and the write-ahead logs as events of a history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from queueing.errors import SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import decode_result
from tests.faults.harness.numbered_log import LINE_NUMBER, PROCESS
from tests.faults.history import (
    Claimed,
    Commit,
    Event,
    HsmSign,
    Left,
    LogLines,
    LogRecord,
    read_history,
)
from tests.support.rig.shared_rig import signed_for_jobs
from workers.journal.records import (
    CanaryIntentRecord,
    IntentRecord,
    OutcomeRecord,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    decode_record,
)
from workers.journal.segments import read_segment, segments_of


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
    """Unexpected errors in the worker's structured log, and the lines that are not there."""
    at = 0.0
    numbers: dict[int, _Numbers] = {}
    for line in file.read_text(errors="replace").splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # its reader is writing it
        if not line.startswith("{"):
            if "Traceback (most recent call last)" in line:
                yield Left(at=at, what=f"a traceback in the log of {worker}")
            continue
        entry = json.loads(line)
        at = datetime.fromisoformat(entry["ts"]).timestamp()
        if "exception" in entry:
            yield Left(at=at, what=f"an exception in the log of {worker}: {entry['event']}")
        if LINE_NUMBER in entry:
            numbers.setdefault(entry[PROCESS], _Numbers()).add(entry)
    yield from (run.lines(worker, at) for run in numbers.values())


@dataclass(slots=True)
class _Numbers:
    """Numbers of the lines of one process that are in the log."""

    seen: set[int] = field(default_factory=set)
    told: int = 0
    last: str = ""

    def add(self, entry: Mapping[str, Any]) -> None:
        self.seen.add(entry[LINE_NUMBER])
        self.last = entry["event"]
        if self.last == "logs.dropped":
            self.told += entry["lines"]

    def lines(self, worker: str, at: float) -> LogLines:
        made = max(self.seen)
        return LogLines(
            at=at,
            worker=worker,
            made=made,
            missing=made - len(self.seen),
            told=self.told,
            complete=self.last == "service.stopped",
        )


def committed_since(history: Path, since: float) -> bool:
    """Whether a worker, by its history, has committed a job that it claimed after that time."""
    fences = set()
    for event in read_history(history):
        if isinstance(event, Claimed) and event.at >= since:
            fences.add((event.job, event.fence))
        elif isinstance(event, Commit) and event.how == "committed" and (event.job, event.fence) in fences:
            return True
    return False


def log_events(worker: str, folder: Path) -> Iterator[Event]:
    """The write-ahead log as it is on the disk; canaries are no job's, nor is the end of one that a worker left open."""
    canaries: set[bytes] = set()
    for segment in segments_of(folder):
        for raw in read_segment(segment):
            record = decode_record(raw)
            if isinstance(record, CanaryIntentRecord):
                canaries.add(record.job_id)
            elif (
                isinstance(
                    record, IntentRecord | OutcomeRecord | ReleasedRecord | ReturnedRecord | UnknownRecord
                )
                and record.job_id not in canaries
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
