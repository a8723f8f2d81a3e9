"""Open intents of a tenant's log, and their snapshot."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.farm.logged_jobs import intent
from workers.journal.records import CanaryIntentRecord
from workers.record.open_intents import OpenIntents, Snapshot
from workers.record.receipts.requests import ReceiptRequest

SECRET = bytes(range(32))
CANARY = CanaryIntentRecord(
    1, "acme", b"c" * 16, b"w:1", "acme", "release", 1, bytes(32), "ECDSA_SHA_256", bytes(32)
)


def opened() -> OpenIntents:
    """Two claims and a canary."""
    intents = OpenIntents(SECRET)
    intents.begin(intent("acme", 1), 4)
    intents.begin(intent("globex", 2), 7)
    intents.begin_canary(CANARY)
    return intents


def test_a_snapshot_opens_the_same_intents_again() -> None:
    """Each with its place in the log, its salt, its envelope and the receipt that it asked for."""
    intents, sizes = opened(), {"acme": 5, "globex": 8}
    claim = intents.claims[intent("globex", 2).job_id, intent("globex", 2).lease]
    claim.receipt = ReceiptRequest(
        tenant="globex", job_id="{globex}2", index=9, at_ms=1, salt=bytes(16), entry=b"entry"
    )
    kept = Snapshot.decode(Snapshot.of(sizes, intents).encode())
    again = OpenIntents(SECRET)
    kept.restore(again)
    assert kept.sizes == sizes
    assert again == intents
    assert len(again) == 3


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x80", Snapshot.of({}, OpenIntents(SECRET)).encode()[:-1]])
def test_what_is_no_snapshot_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Snapshot.decode(raw)


def test_what_a_record_changed_that_could_not_be_read_is_put_back() -> None:
    """Also where the claim was not open before."""
    intents = opened()
    first = intent("acme", 1)
    at = first.job_id, first.lease
    before = intents.claims[at]
    intents.begin(msgspec.structs.replace(first, sealed=b"other"), 9)
    intents.put_back(at, before, None)
    assert intents == opened()
    new = intent("acme", 3)
    intents.begin(new, 10)
    intents.put_back((new.job_id, new.lease), None, None)
    assert intents == opened()


def test_an_intent_without_a_salt_gets_one_of_the_records_secret() -> None:
    """Former versions wrote none: the same record and secret give the same, another secret another."""
    former = msgspec.structs.replace(intent("acme", 1), salt=b"")
    first, second, other = (
        OpenIntents(secret).begin(former, 1).salt for secret in (SECRET, SECRET, bytes(32))
    )
    assert first
    assert first == second != other
    assert len(first) == len(intent("acme", 1).salt)


def test_an_envelope_that_cannot_be_read_is_an_open_intent_all_the_same() -> None:
    """The lane refuses it; the record keeps that it was sent."""
    broken = msgspec.structs.replace(intent("acme", 1), sealed=b"\xc1")
    assert OpenIntents(SECRET).begin(broken, 1).envelope is None
