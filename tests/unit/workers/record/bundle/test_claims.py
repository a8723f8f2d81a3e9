"""Entries of a log whose tree holds are held against each other and the items: a sealer that lies is found, with what and where."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from queueing.protocol.envelope import Envelope, read_unverified
from queueing.protocol.envelope import seal as seal_envelope
from queueing.transparency.commitments import envelope_commitment
from queueing.transparency.entries import EndEntry, Entry, IntentEntry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.forged_logs import ORIGIN, SALT, SEALED, intent_of, outcome_of, row_of, write_log
from tests.support.farm.logged_jobs import Client
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.bundle import claims
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.items import ItemRow

COMMITTED = EndEntry(at_ms=3, kind="committed", intent=1)


def envelope_of(**changes: object) -> bytes:
    """The tests' envelope with other fields, signed by its client."""
    envelope: Envelope = msgspec.structs.replace(read_unverified(SEALED).envelope, **changes)
    return seal_envelope(envelope, Client())


def problems(folder: Path, *entries: Entry | tuple[Entry, ItemRow], certified: bool = False) -> list[str]:
    """Problems of a log with these entries behind its first."""
    log = folder / "log"
    write_log(log, [each if isinstance(each, tuple) else (each, None) for each in entries])
    if certified:
        certify(log)
    export(log, folder / "bundle")
    (reader,) = origins_of(folder / "bundle")
    key = Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier
    verifier = OriginVerifier(reader, trusted=[key], service_keys=[SERVICE.spki] if certified else [])
    return [str(problem) for problem in verifier.run()]


@pytest.mark.parametrize("certified", [False, True])
def test_an_honest_log_holds(tmp_path: Path, certified: bool) -> None:
    log = (intent_of(), (outcome_of(1), row_of(2)), COMMITTED)
    assert problems(tmp_path, *log, certified=certified) == []


@pytest.mark.parametrize(
    "lie", [{"client": "build-2"}, {"key": "nightly"}, {"algorithm": "RSA_PKCS1_SHA_256"}, {"key_version": 1}]
)
def test_an_intent_that_says_something_else_than_its_envelope_is_found(
    tmp_path: Path, lie: dict[str, str | int]
) -> None:
    """A reader of entries alone would believe that another client signed, or with another key."""
    intent: IntentEntry = msgspec.structs.replace(intent_of(), **lie)
    found = problems(tmp_path, intent, (outcome_of(1), row_of(2)), COMMITTED)
    assert len(found) == 1
    assert "/2 entry 1 says another client, key or algorithm than the envelope in its items" in found[0]


def test_an_intent_in_doubt_that_lies_is_found(tmp_path: Path) -> None:
    intent: IntentEntry = msgspec.structs.replace(intent_of(), client="build-2")
    row = ItemRow(outcome=2, salt=SALT, sealed=SEALED, signatures=())
    (found,) = problems(tmp_path, intent, (EndEntry(at_ms=2, kind="unknown", intent=1), row))
    assert "entry 1 says another client" in found


def test_a_second_outcome_of_an_intent_is_found(tmp_path: Path) -> None:
    """Signatures that an order of the client is stretched over."""
    first, second = (
        (outcome_of(1), row_of(2)),
        (msgspec.structs.replace(outcome_of(1), key_version=2), row_of(3)),
    )
    (found,) = problems(tmp_path, intent_of(), first, second, COMMITTED)
    assert found.endswith("/3 it is a second outcome of entry 1, and another one than the first")


def test_an_outcome_that_is_written_again_after_a_crash_counts_once(tmp_path: Path) -> None:
    """The start after a crash puts the outcomes that may not be released into the log again; two crashes, twice."""
    log = tmp_path / "log"
    copies = [(outcome_of(1), row_of(index)) for index in (2, 3, 4)]
    write_log(log, [(intent_of(), None), *copies, (COMMITTED, None)])
    export(log, tmp_path / "bundle")
    (reader,) = origins_of(tmp_path / "bundle")
    verifier = OriginVerifier(reader, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert list(verifier.run()) == []
    assert verifier.verified.signatures == 1


def of_a_range(folder: Path, *entries: Entry | tuple[Entry, ItemRow]) -> tuple[list[str], int]:
    """Problems and signatures of the second 256 entries of a log: an intent is entry 1, and these entries begin the range."""
    before: list[tuple[Entry, ItemRow | None]] = [(COMMITTED, None)] * (256 - 2)
    there = [each if isinstance(each, tuple) else (each, None) for each in entries]
    write_log(folder / "log", [(intent_of(), None), *before, *there])
    export(folder / "log", folder / "bundle", from_ms=10)
    (reader,) = origins_of(folder / "bundle")
    verifier = OriginVerifier(reader, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    found = [str(problem) for problem in verifier.run()]
    assert verifier.verified.first == 256
    return found, verifier.verified.signatures


LATER = {"at_ms": 10}


def test_an_outcome_that_is_written_again_counts_once_also_where_its_intent_is_before_the_range(
    tmp_path: Path,
) -> None:
    """A month that begins between an intent and its outcome has as many signatures as were made."""
    outcome = msgspec.structs.replace(outcome_of(1), **LATER)
    copies = [(outcome, row_of(index)) for index in (256, 257)]
    assert of_a_range(tmp_path, *copies, msgspec.structs.replace(COMMITTED, **LATER)) == ([], 1)


def test_a_second_outcome_or_end_of_an_intent_before_the_range_is_found(tmp_path: Path) -> None:
    first = msgspec.structs.replace(outcome_of(1), **LATER)
    other = msgspec.structs.replace(first, key_version=2)
    end = msgspec.structs.replace(COMMITTED, **LATER)
    found, signatures = of_a_range(
        tmp_path, (first, row_of(256)), (other, row_of(257)), end, end, (first, row_of(260))
    )
    assert [each.partition("/")[2] for each in found] == [
        "257 it is a second outcome of entry 1, and another one than the first",
        "259 it ends entry 1, which is no open intent",
        "260 it is an outcome of entry 1, which has ended",
    ]
    assert signatures == 1


def test_outcomes_of_intents_before_the_range_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MOST_OPEN", 1)
    ends = [msgspec.structs.replace(COMMITTED, intent=intent, **LATER) for intent in (1, 2)]
    found, _ = of_a_range(tmp_path, *ends)
    assert [each.partition("/")[2] for each in found] == ["257 1 intents before the range had no end"]


def test_numbers_of_digests_that_are_not_the_envelopes_are_found(tmp_path: Path) -> None:
    """Intent and outcome agree with each other, and not with what the client signed."""
    intent = msgspec.structs.replace(intent_of(), digests=1000)
    outcome = msgspec.structs.replace(outcome_of(1), digests=1000)
    (found,) = problems(tmp_path, intent, (outcome, row_of(2)), COMMITTED)
    assert found.endswith("/2 it has 1000 digests, and its envelope 2")


def test_a_signature_of_another_key_version_than_was_asked_for_is_found(tmp_path: Path) -> None:
    sealed = envelope_of(key_version=7)
    (found,) = problems(tmp_path, intent_of(sealed), (outcome_of(1, sealed), row_of(2, sealed)), COMMITTED)
    assert "of another key version than its envelope asks for" in found


def test_an_envelope_of_another_tenant_is_no_order_of_this_one(tmp_path: Path) -> None:
    sealed = envelope_of(tenant="globex")
    (found,) = problems(tmp_path, intent_of(sealed), (outcome_of(1, sealed), row_of(2, sealed)), COMMITTED)
    assert found.endswith("its envelope is of another tenant: globex")


def test_an_order_for_another_cluster_is_none_for_this_one(tmp_path: Path) -> None:
    """The same client key may be in use at a test cluster of the same service; what the service key states tells them apart."""
    sealed = envelope_of(audience="staging")
    log = (intent_of(sealed), (outcome_of(1, sealed), row_of(2, sealed)), COMMITTED)
    (found,) = problems(tmp_path, *log, certified=True)
    assert found.endswith("/2 its envelope is for another cluster: staging")


def test_items_of_a_job_in_doubt_that_are_missing_are_found(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, intent_of(), EndEntry(at_ms=2, kind="unknown", intent=1))
    assert found.endswith("/2 the items of a job in doubt are missing")


def test_jobs_without_an_end_are_counted(tmp_path: Path) -> None:
    """A job whose outcome an operator left out still has its intent in the log."""
    log = tmp_path / "log"
    write_log(log, [(intent_of(), None), (outcome_of(1), row_of(2)), (intent_of(), None)])
    export(log, tmp_path / "bundle")
    (reader,) = origins_of(tmp_path / "bundle")
    verifier = OriginVerifier(reader, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert list(verifier.run()) == []
    assert verifier.verified.unended == 2


def test_intents_without_end_are_refused_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MOST_OPEN", 2)
    found = problems(tmp_path, intent_of(), intent_of(), intent_of())
    assert [each.partition(" ")[2] for each in found] == ["0011223344556677/3 2 intents have no end"]


def test_a_commitment_to_another_envelope_is_found(tmp_path: Path) -> None:
    intent = msgspec.structs.replace(intent_of(), commitment=envelope_commitment(SALT, b"another"))
    (found,) = problems(tmp_path, intent, (outcome_of(1), row_of(2)), COMMITTED)
    assert "the envelope in its items is not the one of entry 1" in found
