"""What the fifth observer says of an export that holds, and whose log is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.transparency.entries import EndEntry, Entry
from queueing.transparency.event_entries import GapEntry, WithoutIntentEntry
from queueing.transparency.notes import Ed25519NoteKey
from tests.faults.harness.exports import loss_problems
from tests.support.farm.forged_logs import ORIGIN, intent_of, write_log
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export

NO_INTENT = WithoutIntentEntry(at_ms=2, what="outcome", key="release", key_version=3, signed=2)
COMMITTED = EndEntry(kind="committed", at_ms=3, intent=1)
GAP = GapEntry(at_ms=2, segment=7, first=120, end=480, reason="damaged", more=False)


def told(folder: Path, *entries: Entry) -> list[str]:
    """Problems of a log with these entries behind its first, whose proofs hold."""
    write_log(folder / "log", [(entry, None) for entry in entries])
    export(folder / "log", folder / "bundle")
    (origin,) = origins_of(folder / "bundle")
    verifier = OriginVerifier(origin, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert list(verifier.run()) == []
    return [problem.what for problem in loss_problems("w1", "acme", verifier.verified)]


@pytest.mark.parametrize(
    "entries, code",
    [((NO_INTENT,), "intent.lost at entry 1"), ((intent_of(), COMMITTED), "outcome.lost at entry 2")],
    ids=["intent", "outcome"],
)
def test_a_lost_intent_or_outcome_is_a_problem_of_the_run(
    tmp_path: Path, entries: tuple[Entry, ...], code: str
) -> None:
    """An auditor is warned only, as the proofs hold; no fault of a run takes either from the host's log."""
    (problem,) = told(tmp_path, *entries)
    assert problem.startswith(f"acme: {code}: ")


def test_a_gap_is_no_problem_of_the_run(tmp_path: Path) -> None:
    """What was in it is judged by the jobs whose entries are not there."""
    assert told(tmp_path, GAP) == []
