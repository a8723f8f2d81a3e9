"""History of a job from a host's log: in order, with times, and without a digest."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from queueing.errors import JobPoisoned, ResultInvalid
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.jobs import ArqResult, JobOutcome, ResultHints, WireError, encode_result
from tests.support.fakes.grants import sealed_under
from tests.support.farm.forging import Forger
from tests.support.farm.lost_sectors import lose
from workers.audit.job_history import JobEvent, event_of, histories_of
from workers.journal.records import (
    IntentRecord,
    OutcomeRecord,
    Record,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    encode_record,
)
from workers.journal.segments import frame, segment_path

JOB, OTHER = b"{acme}" + b"a" * 32, b"{acme}" + b"b" * 32
LEASE = b"h1.7.ab:3"


def write(folder: Path, number: int, *records: Record, tail: bytes = b"") -> Path:
    file = segment_path(folder, number)
    file.write_bytes(b"".join(frame(encode_record(record)) for record in records) + tail)
    return file


def read(folder: Path, *job_ids: bytes, since_s: float = 0.0) -> dict[bytes, list[str]]:
    found = histories_of(folder, job_ids, since_s=since_s)
    return {job_id: [event.what for event in events] for job_id, events in found.events.items()}


def test_the_events_of_a_job_come_in_the_order_of_the_log(tmp_path: Path) -> None:
    """Over segments and attempts; other jobs' records are theirs."""
    write(
        tmp_path,
        1,
        IntentRecord(1, "acme", JOB, LEASE, 1, b""),
        IntentRecord(1, "acme", OTHER, LEASE, 1, b""),
        ReturnedRecord(2, "acme", JOB, LEASE, maybe_signed=True),
    )
    write(
        tmp_path,
        2,
        IntentRecord(3, "acme", JOB, b"h1.8.cd:4", 2, b""),
        OutcomeRecord(4, "acme", JOB, b"h1.8.cd:4", "", b""),
        ReleasedRecord(5, "acme", JOB, b"h1.8.cd:4", "committed"),
        UnknownRecord(6, "acme", OTHER, LEASE),
    )
    assert read(tmp_path, JOB, OTHER, b"{acme}nobody") == {
        JOB: ["intent", "returned-in-doubt", "intent", "outcome", "committed"],
        OTHER: ["intent", "unknown"],
        b"{acme}nobody": [],
    }
    facts = histories_of(tmp_path, [JOB], since_s=0.0)
    assert (facts.segments, facts.events[JOB][2].lease, facts.events[JOB][2].attempt) == (2, "h1.8.cd:4", 2)


def test_a_record_that_is_half_written_is_not_there_yet(tmp_path: Path) -> None:
    """The worker writes while we read; the records before it count."""
    torn = frame(encode_record(ReleasedRecord(2, "acme", JOB, LEASE, "committed")))[:-3]
    write(tmp_path, 1, IntentRecord(1, "acme", JOB, LEASE, 1, b""), tail=torn)
    assert read(tmp_path, JOB) == {JOB: ["intent"]}


def test_segments_that_are_too_old_are_not_read(tmp_path: Path) -> None:
    """By when they were last written to."""
    old = write(tmp_path, 1, IntentRecord(1, "acme", JOB, LEASE, 1, b""))
    os.utime(old, (1000, 1000))
    write(tmp_path, 2, ReturnedRecord(2, "acme", JOB, LEASE, maybe_signed=False))
    assert read(tmp_path, JOB, since_s=2000.0) == {JOB: ["returned"]}


def test_an_intent_says_who_asked_for_what(tmp_path: Path) -> None:
    """Client, key, algorithm, how many digests and when: not the digests."""
    forge = Forger(key=ClientKey.generate())
    digest = bytes(range(32))
    sealed = forge.seal(digests=(digest, digest))
    event = event_of(IntentRecord(9, "acme", JOB, LEASE, 1, sealed))
    assert (event.what, event.digests, event.attempt) == ("intent", 2, 1)
    assert event.client
    assert event.key
    assert event.algorithm
    assert event.issued_at_ms
    assert digest.hex() not in msgspec.json.encode(event).decode()


@pytest.mark.parametrize(
    "outcome, event",
    [
        (
            JobOutcome("release", 1, b"f" * 32, "ED25519", (b"s", None, b"s")),
            {"signed": 2, "failed": 1},
        ),
        (WireError.of(JobPoisoned()), {"code": JobPoisoned.reason}),
        (None, {"code": ResultInvalid.reason}),
    ],
)
def test_an_outcome_says_how_it_ended(
    outcome: JobOutcome | WireError | None, event: dict[str, object]
) -> None:
    """Counts or the code of the error; a result that cannot be read is said to be so."""
    raw = b"" if outcome is None else encode_result(_result(outcome))
    found = event_of(OutcomeRecord(9, "acme", JOB, LEASE, "", raw, b"letter"))
    assert found == JobEvent(at_ms=9, what="outcome", lease="h1.7.ab:3", dead_letter=True, **event)  # type: ignore[arg-type]


def test_an_outcome_says_how_many_signatures_were_dropped() -> None:
    """The HSM made them before the job was refused, and no result has them."""
    raw = encode_result(_result(WireError.of(JobPoisoned())))
    assert event_of(OutcomeRecord(9, "acme", JOB, LEASE, "", raw, b"", 3)).dropped == 3


def _result(outcome: JobOutcome | WireError) -> ArqResult:
    ok = isinstance(outcome, JobOutcome)
    return ArqResult(k=ResultHints(), et=1, s=ok, r=outcome, st=1, ft=2, q="queue", id="job")


def test_an_intent_under_a_grant_says_for_whom() -> None:
    """Subject, and the hash of the token; a client's envelope has neither, nor has a damaged grant."""
    event = event_of(IntentRecord(9, "acme", JOB, LEASE, 1, sealed_under()))
    assert (event.client, event.subject) == ("ci.000102030405060708090a0b0c0d0e0f", "repo:acme/app")
    assert event.evidence_sha256 == (b"e" * 32).hex()
    broken = event_of(IntentRecord(9, "acme", JOB, LEASE, 1, sealed_under(b"rubbish")))
    own = event_of(IntentRecord(9, "acme", JOB, LEASE, 1, Forger(key=ClientKey.generate()).seal()))
    for event in (broken, own):
        assert (event.subject, event.evidence_sha256) == ("", "")


def test_a_lost_sector_costs_what_was_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history has what the disk gives, and says which place it does not give."""
    big = IntentRecord(1, "acme", OTHER, LEASE, 1, b"s" * 8192)
    file = write(
        tmp_path, 1, IntentRecord(1, "acme", JOB, LEASE, 1, b""), big, UnknownRecord(6, "acme", JOB, LEASE)
    )
    lose(monkeypatch, file, range(4096, 8192))
    found = histories_of(tmp_path, [JOB], since_s=0.0)
    assert [event.what for event in found.events[JOB]] == ["intent", "unknown"]
    assert len(found.damage) == 1
