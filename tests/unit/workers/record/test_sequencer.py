"""Sequencer of a tenant's log: entries from the records of the write-ahead log."""

from __future__ import annotations

import msgspec
import pytest

from queueing.errors import ClientRevoked, ProofInvalid
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, encode_result
from queueing.transparency.entries import OutcomeEntry, decode_entry, encode_entry
from tests.support.farm.logged_events import events_of
from tests.support.farm.logged_jobs import intent, job
from workers.journal.records import OutcomeRecord
from workers.record.additions import Addition
from workers.record.folder import Origin
from workers.record.sequencer import Sequencer

ORIGIN = Origin(log_name="sigmill/prod", name="0" * 16, secret=bytes(32), build="1.0")
REFUSED = encode_result(
    ArqResult(et=1, s=False, r=WireError.of(ClientRevoked()), k=ResultHints(), st=1, ft=1, q="q", id="job1")
)


def outcome_entry(additions: list[Addition]) -> OutcomeEntry:
    (entry,) = [each.entry for each in additions if isinstance(each.entry, OutcomeEntry)]
    return entry


def test_an_outcome_says_how_many_signatures_were_dropped() -> None:
    """The tenant sees that its key signed, although the job was refused and nothing was released."""
    sequencer = Sequencer(ORIGIN)
    sequencer.add(intent("acme", 1))
    entry = outcome_entry(sequencer.add(OutcomeRecord(2, "acme", b"job1", b"w:1", "", REFUSED, b"", 2)))
    assert (entry.code, entry.signed, entry.dropped) == ("client.revoked", 0, 2)
    assert decode_entry(encode_entry(entry)) == entry


def test_an_outcome_entry_of_a_former_version_has_nothing_dropped() -> None:
    """Its array is shorter by one."""
    sequencer = Sequencer(ORIGIN)
    additions = [addition for record in job("acme", 1) for addition in sequencer.add(record)]
    shorter = msgspec.msgpack.encode(msgspec.msgpack.decode(encode_entry(outcome_entry(additions)))[:-1])
    former = decode_entry(shorter)
    assert isinstance(former, OutcomeEntry)
    assert former.dropped == 0


def test_a_record_of_which_no_entry_can_be_made_changes_nothing() -> None:
    """The entries behind it are those of a log without it: of a tenant's first intent, and of a claim that is open."""
    sequencer = Sequencer(ORIGIN)
    opened = intent("acme", 1)
    sequencer.add(opened)
    for record in (
        msgspec.structs.replace(opened, attempt=-1),
        msgspec.structs.replace(opened, tenant="globex", job_id=b"job2", attempt=-1),
        msgspec.structs.replace(opened, tenant="../acme", job_id=b"job3"),
        OutcomeRecord(2, "acme", b"job1", b"w:1", "", REFUSED, b"", -1),
    ):
        before = sequencer.snapshot()
        with pytest.raises((ProofInvalid, msgspec.ValidationError)):
            sequencer.add(record)
        assert sequencer.snapshot() == before
    assert sequencer.sizes == {"acme": 2}


@pytest.mark.parametrize("kind", events_of(""))
def test_each_kind_of_event_is_an_entry_of_its_tenant(kind: str) -> None:
    """It is read again as it was written, and nothing of a job's id is in it."""
    sequencer = Sequencer(ORIGIN)
    opened, event = sequencer.add(events_of("acme")[kind])
    assert (opened.tenant, event.tenant, event.entry.kind) == ("acme", "acme", kind)
    assert decode_entry(event.data) == event.entry
    assert b"job-of-a-secret" not in event.data
    assert sequencer.sizes == {"acme": 2}


def test_an_event_is_in_no_log_of_another_tenant() -> None:
    sequencer = Sequencer(ORIGIN)
    sequencer.add(intent("globex", 1))
    tenants = {each.tenant for record in events_of("acme").values() for each in sequencer.add(record)}
    assert tenants == {"acme"}


def test_a_configuration_of_the_service_is_in_each_tenants_log() -> None:
    """Other events of the service, such as lanes of its own token, are in none."""
    sequencer = Sequencer(ORIGIN)
    sequencer.add(intent("acme", 1))
    sequencer.add(intent("globex", 2))
    found = {kind: sequencer.add(record) for kind, record in events_of("").items()}
    assert [each.tenant for each in found.pop("config")] == ["acme", "globex"]
    assert not any(found.values())
    assert sequencer.sizes == {"acme": 3, "globex": 3}


def test_an_event_of_which_no_entry_can_be_made_changes_nothing() -> None:
    sequencer = Sequencer(ORIGIN)
    sequencer.add(intent("acme", 1))
    for tenant in ("acme", "globex", "../acme"):
        wrong = msgspec.structs.replace(events_of(tenant)["lane-started"], lane=b"short")
        with pytest.raises((ProofInvalid, msgspec.ValidationError)):
            sequencer.add(wrong)
    assert sequencer.sizes == {"acme": 2}


def test_signatures_without_their_intent_are_said_to_be_left_out() -> None:
    """The intent was damaged, or its segment removed: the write-ahead log keeps what is known."""
    sequencer = Sequencer(ORIGIN)
    outcome, released = job("acme", 1)[1:]
    assert not any(isinstance(each.entry, OutcomeEntry) for each in sequencer.add(outcome))
    assert sequencer.left_out
    sequencer.add(released)
    assert not sequencer.left_out


def test_events_of_the_service_that_are_in_no_log_are_said_to_be_left_out() -> None:
    """The write-ahead log keeps who logged in to its token; the numbers of calls, which come each minute, it does not."""
    sequencer = Sequencer(ORIGIN)
    sequencer.add(intent("acme", 1))
    left_out = set()
    for kind, record in events_of("").items():
        sequencer.add(record)
        if sequencer.left_out:
            left_out.add(kind)
    assert left_out >= {"login", "lane-started", "lane-ended"}
    assert not left_out & {"config", "lane-operations"}
    sequencer.add(events_of("acme")["login"])
    assert not sequencer.left_out
