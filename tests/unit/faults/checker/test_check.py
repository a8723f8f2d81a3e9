"""The checker of the fault harness: a history that is right passes, and each wrong one is found by its rule."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from msgspec.structs import replace

from tests.faults.checker.check import CLIENT_AND_HSM_CHECKS, EXPORTED_SIGNATURES, Verdict, check
from tests.faults.history import (
    Answered,
    Claimed,
    Commit,
    CopiedToken,
    Event,
    Exported,
    ExportProblem,
    ExportRead,
    Extended,
    Fault,
    GaveBack,
    HsmSign,
    Invoked,
    LaneEnded,
    Left,
    Limits,
    LogLines,
    LogRecord,
    PortAbused,
    Recorder,
    Submitted,
    TenantKey,
    WorkerEnded,
    encode,
    read_history,
    write_history,
)
from tests.support.keys import spki_of

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
SPKI = spki_of(KEY)
DIGEST = hashlib.sha256(b"one").digest()
OTHER = hashlib.sha256(b"other").digest()
GOOD = KEY.sign(DIGEST)
RESULT = hashlib.sha256(b"result").digest()
JOB = "{acme}job"

KEYS = TenantKey(at=0, tenant="acme", token="acme", spki=SPKI)
INVOKED = Invoked(at=1, client="c1", tenant="acme", job=JOB, algorithm="ED25519", digests=(DIGEST,))
ACCEPTED = Submitted(at=1.1, client="c1", tenant="acme", job=JOB, how="ok")
CLAIMED = Claimed(at=2.01, worker="w1", tenant="acme", job=JOB, fence=7, from_s=2.0, until_s=4.0)
INTENT = LogRecord(
    at=2.02, worker="w1", what="intent", tenant="acme", job=JOB, lease="w1:7", digests=(DIGEST,)
)
SIGNED = HsmSign(at=2.1, token="acme", pid=1, tail=DIGEST[-8:], rv=0, head=GOOD[:8])
OUTCOME = LogRecord(
    at=2.2,
    worker="w1",
    what="outcome",
    tenant="acme",
    job=JOB,
    lease="w1:7",
    signatures=(GOOD,),
    result=RESULT,
)
COMMIT = Commit(
    at=2.4, worker="w1", tenant="acme", job=JOB, fence=7, began_at=2.3, how="committed", result=RESULT
)
RELEASED = LogRecord(
    at=2.2, worker="w1", what="released", tenant="acme", job=JOB, lease="w1:7", how="committed"
)
ANSWERED = Answered(at=2.5, client="c1", tenant="acme", job=JOB, how="ok", signatures=(GOOD,))
RIGHT: tuple[Event, ...] = (
    KEYS, INVOKED, ACCEPTED, CLAIMED, INTENT, SIGNED, OUTCOME, COMMIT, RELEASED, ANSWERED,
)  # fmt: skip


def without(*gone: Event) -> list[Event]:
    return [event for event in RIGHT if event not in gone]


def broken_by(events: Sequence[Event]) -> set[str]:
    return check(events).rules


def test_a_history_that_is_right_breaks_no_rule() -> None:
    """One job, from its submit to its answer."""
    assert check(RIGHT).violations == []


def test_the_order_of_the_observers_files_does_not_matter() -> None:
    """Events carry their time."""
    assert check(RIGHT[::-1]).violations == []


NOT_ANSWERED = without(ANSWERED)
ZOMBIE = Claimed(at=5, worker="w2", tenant="acme", job=JOB, fence=8, from_s=5, until_s=7)
LATE = replace(COMMIT, began_at=6, at=6.1)

SPARED = Fault(at=3, began_at=0.5, over_at=2.6, kind="log.reader-stopped", bound_s=5)
LINES = LogLines(at=9, worker="w1", made=40, missing=2, told=2, complete=True)
LIMITED = Limits(at=0.2, began_at=0.1, tenant="acme", rate_per_s=1.0, burst=2.0, cost=1.0)
OTHER_JOB: tuple[Event, ...] = (
    replace(INVOKED, job="{acme}2", digests=(OTHER,)),
    replace(CLAIMED, job="{acme}2", from_s=2.2, at=2.21, fence=8),
    replace(INTENT, job="{acme}2", at=2.22, lease="w1:8", digests=(OTHER,)),
    replace(SIGNED, at=2.3, tail=OTHER[-8:]),
    replace(INTENT, job="{acme}2", at=2.4, lease="w1:8", what="unknown", digests=()),
)
"""Another job of the same tenant, signed 0.2 s later."""

WRONG: dict[str, list[Event]] = {
    "I1 accepted job lost": NOT_ANSWERED,
    "I1 accepted job failed": [*NOT_ANSWERED, replace(ANSWERED, how="fail", signatures=(), code="job.unknown")],
    "I1 innocent job set aside": [
        *NOT_ANSWERED, replace(ANSWERED, how="fail", signatures=(), code="job.poisoned"),
    ],
    "I1 set aside without a letter": [
        *NOT_ANSWERED, replace(ANSWERED, how="fail", signatures=(), code="job.poisoned"),
    ],
    "I1 accepted digest failed": [*NOT_ANSWERED, replace(ANSWERED, signatures=(b"",), codes={0: "digest.length"})],
    "I2 login to a copied token": [*RIGHT, CopiedToken(at=3, token="acme", tenant="globex", pin_tried=True)],
    "I5 tenant held up": [*RIGHT, replace(SPARED, tenants_go_on=("acme",), in_full_at=1.05)],
    "I5 worker held up": [*RIGHT, replace(SPARED, workers_go_on=("w1",), in_full_at=2.05)],
    "I5 too many connections": [*RIGHT, PortAbused(at=3, worker="w1", connections=34, status=200)],
    "I5 metrics port lost": [*RIGHT, PortAbused(at=3, worker="w1", connections=33, status=0)],
    "I6 log lines lost uncounted": [*RIGHT, replace(LINES, missing=3)],
    "I6 rate limit exceeded": [replace(LIMITED, burst=0.5), *RIGHT, *OTHER_JOB],
    "I1 left over": [*RIGHT, Left(at=9, what="a lease")],
    "I2 refused job signed": [*without(ACCEPTED, ANSWERED), replace(ACCEPTED, how="fail", code="job.conflict")],
    "I2 signed what nobody asked": [*RIGHT, replace(SIGNED, tail=OTHER[-8:])],
    "I2 wrong number of signatures": [*NOT_ANSWERED, replace(ANSWERED, signatures=(GOOD, GOOD))],
    "I2 signature does not verify": [*NOT_ANSWERED, replace(ANSWERED, signatures=(KEY.sign(OTHER),))],
    "I3 outcome changed": [*RIGHT, replace(ANSWERED, at=9, client="redis", signatures=(GOOD[:-1] + b"!",))],
    "I3 committed twice": [*RIGHT, replace(COMMIT, at=9, began_at=8, worker="w2", fence=8)],
    "I3 two results accepted": [*RIGHT, replace(COMMIT, at=9, began_at=8, how="repeated", result=b"another")],
    "I3 claimed after its end": [*RIGHT, ZOMBIE],
    "I3 stale commit accepted": [*without(COMMIT), ZOMBIE, LATE],
    "I3 two owners at once": [
        *without(COMMIT), replace(COMMIT, began_at=3.6, at=3.7), replace(ZOMBIE, from_s=3.5, at=3.51),
    ],
    "I4 operation without intent": without(INTENT),
    "I4 signed too often": [*RIGHT, replace(SIGNED, at=2.15)],
    "I4 more dropped than on record": [*RIGHT, replace(SIGNED, at=2.15)],
    "I4 record of what nobody submitted": [KEYS, CLAIMED, replace(OUTCOME, signatures=()), COMMIT, RELEASED],
    "I4 outcome that the HSM did not make": without(SIGNED),
    "I4 intent without end": without(OUTCOME),
    "I4 intent closed twice": [
        *RIGHT, *(replace(OUTCOME, what="unknown", signatures=(), at=at) for at in (8, 9)),
    ],
    "I4 released but not in the log": without(OUTCOME),
    "I4 released twice": [*RIGHT, replace(RELEASED, at=9)],
    "I4 release without record": without(RELEASED),
    "I5 slow recovery": [*RIGHT, Fault(at=1.5, began_at=1.2, kind="worker.kill", bound_s=0.9)],
    "I6 no such code": [*NOT_ANSWERED, replace(ANSWERED, how="fail", signatures=(), code="oh.dear")],
    "I6 retryable error as the job's end": [
        *NOT_ANSWERED, replace(ANSWERED, how="fail", signatures=(), code="hsm.fault"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("rule", WRONG)
def test_each_wrong_history_is_found_by_its_rule(rule: str) -> None:
    """Each breaks at least the rule by which it is named here."""
    assert rule in broken_by(WRONG[rule])


def test_the_bytes_on_record_are_those_that_the_hsm_made() -> None:
    """Their head is in the module's log."""
    other = [*without(SIGNED), replace(SIGNED, head=bytes(8))]
    assert broken_by(other) == {"I4 outcome that the HSM did not make"}


def test_info_may_be_either() -> None:
    """A submit of unknown outcome may have been accepted and signed, or not at all."""
    unknown = replace(ACCEPTED, how="info", code="queue.unavailable")
    assert broken_by([*without(ACCEPTED), unknown]) == set()
    assert broken_by([KEYS, INVOKED, unknown]) == set()


def test_content_that_conflicts_with_a_job_is_not_signed_under_its_id() -> None:
    """The job itself is signed; another client's other content is refused, and stays unsigned."""
    conflict: list[Event] = [
        replace(INVOKED, at=1.2, client="c2", digests=(OTHER,)),
        replace(ACCEPTED, at=1.3, client="c2", how="fail", code="job.conflict"),
    ]
    assert broken_by([*RIGHT, *conflict]) == set()
    signed = replace(SIGNED, tail=OTHER[-8:])
    assert "I2 refused job signed" in broken_by([*RIGHT, *conflict, signed])


def test_no_job_may_end_as_expired_because_a_clock_was_wrong() -> None:
    """A lane that knows better requeues it: neither the step of a clock nor another submit makes such an end right."""
    expired = replace(ANSWERED, how="fail", signatures=(), code="job.expired")
    stepped = Fault(at=2.4, began_at=1.5, kind="clock.lanes-hour-ahead", bound_s=5)
    outcome = replace(OUTCOME, signatures=(), code="job.expired")
    ended = [*without(SIGNED, OUTCOME, ANSWERED), outcome, expired, stepped]
    assert broken_by(ended) >= {"I1 accepted job failed"}
    again: list[Event] = [
        replace(INVOKED, at=3),
        replace(ACCEPTED, at=3.1),
        replace(CLAIMED, at=3.2, from_s=3.2, until_s=5.2, fence=8),
        replace(INTENT, at=3.3, lease="w1:8"),
        replace(SIGNED, at=3.4),
        replace(OUTCOME, at=3.5, lease="w1:8", result=b"signed"),
        replace(COMMIT, at=3.7, began_at=3.6, fence=8, result=b"signed"),
        replace(RELEASED, at=3.5, lease="w1:8"),
        replace(ANSWERED, at=3.8),
    ]
    assert broken_by([*ended, *again]) >= {
        "I1 accepted job failed", "I3 committed twice", "I3 outcome changed", "I3 two results accepted",
        "I4 released twice",
    }  # fmt: skip


def test_a_tenant_or_worker_with_results_during_a_fault_is_not_held_up() -> None:
    """Jobs that were submitted, or claimed, before the fault do not count, nor results after its end."""
    tenant = replace(SPARED, tenants_go_on=("acme",), in_full_at=1.0)
    assert not broken_by([*RIGHT, tenant])
    assert broken_by([*RIGHT, replace(tenant, over_at=2.4)]) == {"I5 tenant held up"}
    worker = replace(SPARED, workers_go_on=("w1",), in_full_at=2.0)
    assert not broken_by([*RIGHT, worker])
    assert broken_by([*RIGHT, replace(worker, over_at=2.3)]) == {"I5 worker held up"}
    assert broken_by([*RIGHT, replace(worker, workers_go_on=("w2",))]) == {"I5 worker held up"}


def test_lines_of_a_log_are_missing_only_as_many_as_were_told() -> None:
    """A process that was killed had no time to tell; none tells of more than are missing."""
    assert not broken_by([*RIGHT, LINES])
    assert not broken_by([*RIGHT, replace(LINES, missing=3, complete=False)])
    assert broken_by([*RIGHT, replace(LINES, missing=1, complete=False)]) == {"I6 log lines lost uncounted"}


def test_a_copy_of_a_token_to_which_no_login_was_tried_breaks_no_rule() -> None:
    """The copy was refused."""
    assert not broken_by([*RIGHT, CopiedToken(at=3, token="acme", tenant="globex", pin_tried=False)])


def test_as_many_signatures_may_be_missing_as_are_on_record_as_dropped() -> None:
    """The number counts for all digests of the job together."""
    other = replace(SIGNED, tail=OTHER[-8:])
    both = (DIGEST, OTHER)
    events: list[Event] = [
        KEYS, replace(INVOKED, digests=both), ACCEPTED, CLAIMED, replace(INTENT, digests=both), SIGNED, other,
        COMMIT, RELEASED, replace(ANSWERED, how="fail", signatures=(), code="client.revoked"),
    ]  # fmt: skip
    outcome = replace(OUTCOME, signatures=(), dropped=1)
    assert "I4 more dropped than on record" in broken_by([*events, outcome])
    assert "I4 signed too often" not in broken_by([*events, outcome])
    assert "I4 more dropped than on record" not in broken_by([*events, replace(outcome, dropped=2)])


def test_of_a_job_that_no_client_submitted_no_record_is_asked() -> None:
    """A flood leaves counters, so that it does not fill the log."""
    flood: list[Event] = [KEYS, replace(CLAIMED, job="{acme}flood"), replace(COMMIT, job="{acme}flood")]
    assert not broken_by(flood)
    refused = replace(OUTCOME, job="{acme}flood", signatures=())
    assert "I4 record of what nobody submitted" in broken_by([*flood, refused])


def test_what_a_lane_was_given_is_on_record_to_the_end_also_without_a_client() -> None:
    """Such as an envelope that only the lane sees to be forged."""
    forged: list[Event] = [KEYS, CLAIMED, INTENT, replace(OUTCOME, signatures=()), COMMIT]
    assert not broken_by([*forged, RELEASED])
    assert "I4 release without record" in broken_by(forged)


def test_a_forgery_that_one_worker_returned_is_refused_by_another_with_a_counter() -> None:
    """Its lane had read another file than the worker; the worker that claims it next knows that the tenant's envelopes are forged."""
    returned: list[Event] = [KEYS, CLAIMED, INTENT, replace(OUTCOME, what="returned", signatures=())]
    elsewhere = replace(COMMIT, worker="w2", fence=8, began_at=6, at=6.1)
    assert not broken_by([*returned, ZOMBIE, elsewhere])
    given = replace(INTENT, worker="w2", lease="w2:8", at=5.5)
    ended = replace(OUTCOME, worker="w2", lease="w2:8", at=5.9, signatures=())
    assert "I4 release without record" in broken_by([*returned, ZOMBIE, given, ended, elsewhere])
    assert "I4 record of what nobody submitted" in broken_by([*returned, ZOMBIE, ended, elsewhere])


def test_a_job_set_aside_is_ended_where_its_digest_breaks_the_module() -> None:
    """The evidence is the fault that was injected for it."""
    aside = replace(ANSWERED, how="fail", signatures=(), code="job.poisoned")
    letter = replace(OUTCOME, signatures=(), dead_letter=True)
    fault = Fault(at=1.4, began_at=1.3, kind="hsm.poison-job", bound_s=0.1, breaks=(DIGEST,))
    unsigned = without(ANSWERED, OUTCOME, SIGNED)
    assert broken_by([*unsigned, aside, letter, fault]) == set()


def test_a_job_set_aside_is_ended_where_three_lanes_ended_over_it() -> None:
    """Two are not enough."""
    aside = replace(ANSWERED, how="fail", signatures=(), code="job.poisoned")
    crashes = [LaneEnded(at=2.1 + i / 100, worker="w1", token="acme") for i in range(3)]
    assert "I1 innocent job set aside" not in broken_by([*NOT_ANSWERED, aside, *crashes])
    assert "I1 innocent job set aside" in broken_by([*NOT_ANSWERED, aside, *crashes[:2]])


FORMER = replace(INTENT, at=1.5, lease="w1:6")
RETURNED = replace(OUTCOME, at=1.8, what="returned", maybe_signed=True, signatures=(), lease="w1:6")
UNKNOWN = replace(OUTCOME, at=1.8, what="unknown", signatures=(), lease="w1:6")


@pytest.mark.parametrize("loss", [RETURNED, UNKNOWN])
def test_a_second_signature_is_explained_by_a_loss_on_record(loss: LogRecord) -> None:
    """The log says of an earlier claim that it may have been made; of one without an intent it was not."""
    twice = [*RIGHT, replace(SIGNED, at=1.7)]
    assert broken_by([*twice, FORMER, loss]) == set()
    assert "I4 signed too often" in broken_by(
        [*twice, FORMER, replace(loss, what="returned", maybe_signed=False)]
    )


def test_a_second_signature_in_a_claim_with_an_outcome_is_dropped_by_it() -> None:
    """A lane that ended with a digest is in the log of the worker too, which does not suffice."""
    twice = [*RIGHT, replace(SIGNED, at=2.15), LaneEnded(at=2.15, worker="w1", token="acme")]
    assert "I4 signed too often" in broken_by(twice)
    assert broken_by([replace(e, dropped=1) if e is OUTCOME else e for e in twice]) == set()


def test_a_lane_that_ended_in_a_lost_claim_explains_one_signature_more() -> None:
    """One of the same token, while the claim was open."""
    signed_again = [*RIGHT, replace(SIGNED, at=1.6), replace(SIGNED, at=1.7), FORMER, RETURNED]
    assert broken_by([*signed_again, LaneEnded(at=1.65, worker="w1", token="acme")]) == set()
    assert "I4 signed too often" in broken_by(
        [*signed_again, LaneEnded(at=1.65, worker="w1", token="globex")]
    )
    assert "I4 signed too often" in broken_by([*signed_again, LaneEnded(at=5, worker="w1", token="acme")])


def test_a_release_without_record_is_a_killed_workers_only() -> None:
    """No other step waits for that record: it is lost with the process."""
    killed = WorkerEnded(at=2.41, worker="w1", orderly=False)
    assert broken_by([*without(RELEASED), killed]) == set()
    assert "I4 release without record" in broken_by([*without(RELEASED), replace(killed, at=1)])


def test_a_lease_that_was_given_back_or_extended_ends_when_it_says() -> None:
    """Given back, the next claim may come at once; extended, it may not come at the old end."""
    back = GaveBack(at=3, worker="w1", tenant="acme", job=JOB, fence=7, began_at=3)
    early = replace(ZOMBIE, from_s=3.5, at=3.51)
    open_ended = without(COMMIT, RELEASED)
    assert "I3 two owners at once" not in broken_by([*open_ended, back, early])
    longer = Extended(at=3, worker="w1", tenant="acme", job=JOB, fence=7, until_s=5.5)
    assert "I3 two owners at once" in broken_by([*open_ended, longer, ZOMBIE])
    assert "I3 two owners at once" not in broken_by([*open_ended, ZOMBIE])


def test_recovery_counts_what_was_open_at_the_heal() -> None:
    """Not what was accepted later, and not what was over."""
    fault = Fault(at=1.5, began_at=1.2, kind="worker.kill", bound_s=5)
    assert check([*RIGHT, fault]).recoveries == {"worker.kill": [1.0]}
    assert check([*RIGHT, replace(fault, at=0.5)]).recoveries == {"worker.kill": [0.0]}
    assert check([*RIGHT, replace(fault, at=8)]).recoveries == {"worker.kill": [0.0]}


def test_without_log_and_fences_the_client_and_the_hsm_suffice() -> None:
    """Verdict on stock arq: more signatures than workers that ended in disorder explain."""
    outside: list[Event] = [KEYS, INVOKED, ACCEPTED, SIGNED, ANSWERED]

    def verdict(*more: Event) -> Verdict:
        return check([*outside, *more], CLIENT_AND_HSM_CHECKS)

    assert verdict().violations == []
    assert verdict(SIGNED).rules == {"I4 signed too often"}
    assert verdict(SIGNED, WorkerEnded(at=2.3, worker="w1", orderly=False)).violations == []


def test_a_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """All kinds of events, but for a last line that its writer did not finish."""
    file = tmp_path / "history.jsonl"
    events = [event for history in WRONG.values() for event in history]
    events += [
        Extended(at=3, worker="w1", tenant="acme", job=JOB, fence=7, until_s=5.5),
        GaveBack(at=3, worker="w1", tenant="acme", job=JOB, fence=7, began_at=3),
        LaneEnded(at=3, worker="w1", token="acme"),
        WorkerEnded(at=3, worker="w1", orderly=False),
        EXPORT,
        EXPORTED,
        ExportProblem(at=9, worker="w1", what="acme: entry.invalid"),
    ]
    assert {type(event) for event in events} == {*get_args(Event)}
    write_history(file, events)
    with file.open("ab") as lines:
        lines.write(encode(ANSWERED)[:-5])
    assert list(read_history(file)) == events
    assert list(read_history(tmp_path / "none")) == []


def test_events_wait_while_the_file_cannot_grow(tmp_path: Path) -> None:
    """A full disk loses none, and a half-written line is completed."""
    recorder = Recorder(tmp_path / "history.jsonl")
    file = recorder._file

    class Full:
        room = 10

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(errno.EFBIG, "File too large")
            written, self.room = file.write(data[: self.room]), 0
            return written

    recorder._file = Full()  # type: ignore[assignment]
    recorder.note(INVOKED)
    recorder.note(ACCEPTED)
    recorder._file = file
    recorder.note(ANSWERED)
    recorder.close()
    assert list(read_history(tmp_path / "history.jsonl")) == [INVOKED, ACCEPTED, ANSWERED]


EXPORT = ExportRead(at=9, worker="w1", tenant="acme", entries=4, signatures=2)
EXPORTED = Exported(
    at=9,
    worker="w1",
    tenant="acme",
    job=JOB,
    digests=(DIGEST,),
    signatures=(hashlib.sha256(GOOD).digest(),),
)


def test_each_released_signature_is_in_an_export() -> None:
    """Of this digest and no other; a history without exports is not judged by them."""
    assert broken_by([*RIGHT, EXPORT, EXPORTED]) == set()
    other = hashlib.sha256(KEY.sign(OTHER)).digest()
    for wrong in (
        [EXPORT],
        [EXPORT, replace(EXPORTED, signatures=(other,))],
        [EXPORT, replace(EXPORTED, digests=(OTHER,))],
        [EXPORT, replace(EXPORTED, job="{acme}another")],
    ):
        assert broken_by([*RIGHT, *wrong]) == {"I4 released but not in the export"}


def test_what_the_verifier_says_of_an_export_is_a_violation() -> None:
    problem = ExportProblem(
        at=9, worker="w1", what="acme: entry.invalid 0/4 it is the outcome of no open intent"
    )
    assert broken_by([*RIGHT, EXPORT, EXPORTED, problem]) == {"I4 export does not hold"}


def test_the_signatures_of_the_exports_are_counted() -> None:
    operations = check([*RIGHT, EXPORT, EXPORT, EXPORTED]).operations
    assert (operations["export"], operations[EXPORTED_SIGNATURES]) == (2, 4)
