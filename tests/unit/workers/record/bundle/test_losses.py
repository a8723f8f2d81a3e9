"""Losses on the host are told by the entries that have them, with what and where; the proofs hold."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from queueing.transparency.entries import EndEntry, Entry, OutcomeEntry
from queueing.transparency.event_entries import GapEntry, WithoutIntentEntry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.forged_logs import ORIGIN, intent_of, outcome_of, row_of, write_log
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.bundle import findings
from workers.record.bundle.findings import Lost, Verified
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export

GAP = GapEntry(at_ms=2, segment=7, first=120, end=480, reason="damaged", more=False)
LOST = WithoutIntentEntry(at_ms=2, what="outcome", key="release", key_version=3, signed=2, dropped=1)


def verified(folder: Path, *entries: Entry) -> Verified:
    """Findings about a log with these entries behind its first, which has no problem."""
    rows = [
        (each, row_of(index) if isinstance(each, OutcomeEntry) else None)
        for index, each in enumerate(entries, 1)
    ]
    write_log(folder / "log", rows)
    export(folder / "log", folder / "bundle")
    (reader,) = origins_of(folder / "bundle")
    verifier = OriginVerifier(reader, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert list(verifier.run()) == []
    return verifier.verified


@pytest.mark.parametrize(
    "entry, code, what",
    [
        (
            GAP,
            "gap.damaged",
            "bytes 120 to 480 of segment 7 of the host's write-ahead log were damaged: what this tenant had there is in no entry",
        ),
        (
            msgspec.structs.replace(GAP, more=True),
            "gap.damaged",
            (
                "bytes 120 to 480 of segment 7 of the host's write-ahead log were damaged: what this tenant had there is in no entry;"
                " there are further gaps in this segment, which are in no entry"
            ),
        ),
        (
            msgspec.structs.replace(GAP, reason="of a later version"),
            "gap.damaged",
            "bytes 120 to 480 of segment 7 of the host's write-ahead log were damaged: what this tenant had there is in no entry",
        ),
        (
            msgspec.structs.replace(GAP, reason="wrong"),
            "gap.wrong",
            "bytes 120 to 480 of segment 7 of the host's write-ahead log are a record of this tenant of which no entry could be made",
        ),
        (
            msgspec.structs.replace(GAP, reason="later"),
            "gap.later",
            (
                "bytes 120 to 480 of segment 7 of the host's write-ahead log are a record that the host's version could not read: what it"
                " says is in no entry"
            ),
        ),
        (
            msgspec.structs.replace(GAP, reason="missing", first=0, end=0),
            "gap.missing",
            (
                "segments of the host's write-ahead log before segment 7 were not there: what this tenant had in them is in no entry of"
                " this log"
            ),
        ),
        (
            LOST,
            "intent.lost",
            (
                "a job ended with 2 signatures by release/3 and 1 that were not released, and its intent is in no entry: what was signed"
                " is not known from this log"
            ),
        ),
        (
            WithoutIntentEntry(at_ms=2, what="outcome", dropped=3, code="client.revoked"),
            "intent.lost",
            (
                "a job ended with 0 signatures and 3 that were not released (client.revoked), and its intent is in no entry: what was signed"
                " is not known from this log"
            ),
        ),
        (
            WithoutIntentEntry(at_ms=2, what="canary", signed=1, code="ok"),
            "intent.lost",
            "a canary ended with 1 signature (ok), and its intent is in no entry: what was signed is not known from this log",
        ),
        (
            WithoutIntentEntry(at_ms=2, what="unknown"),
            "intent.lost",
            "a job ended in doubt (unknown), and its intent is in no entry: any of its digests may have been signed",
        ),
    ],
)
def test_an_entry_about_a_loss_is_told(tmp_path: Path, entry: Entry, code: str, what: str) -> None:
    assert verified(tmp_path, entry).lost == [Lost(1, code, what)]


@pytest.mark.parametrize("kind", ["committed", "repeated", "fenced"])
def test_an_end_without_the_outcome_that_was_before_it_is_told(tmp_path: Path, kind: str) -> None:
    """The tree holds: only the meaning of the entries says that signatures are missing."""
    end = msgspec.convert([1, 3, kind, 1], EndEntry)
    found = verified(tmp_path, intent_of(), end)
    assert found.lost == [
        Lost(2, "outcome.lost", f"the job of entry 1 was {kind}, and its outcome is in no entry")
    ]


def test_nothing_is_lost_in_a_whole_job_and_in_one_that_was_requeued(tmp_path: Path) -> None:
    found = verified(
        tmp_path,
        intent_of(),
        outcome_of(1),
        EndEntry(at_ms=3, kind="committed", intent=1),
        intent_of(),
        EndEntry(at_ms=4, kind="returned", intent=4),
    )
    assert (found.losses, found.lost) == (0, [])


def test_of_many_losses_the_first_are_told_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails has thousands, and a verification a bounded memory."""
    monkeypatch.setattr(findings, "MOST_LOST", 2)
    found = verified(tmp_path, GAP, LOST, GAP)
    assert (found.losses, [each.entry for each in found.lost]) == (3, [1, 2])


def test_the_times_of_losses_say_nothing_of_the_clock(tmp_path: Path) -> None:
    """A gap has the time of the record before, which may have waited for a worker."""
    late = msgspec.structs.replace(GAP, at_ms=10**6)
    assert verified(tmp_path, late, GAP, LOST, intent_of()).set_back == []
