"""A claimed job until it has all its outcomes: reported once, whole, as what it is."""

from __future__ import annotations

import msgspec
import pytest

from queueing.broker.dead_letters import DeadLetter
from queueing.errors import (
    ClientRevoked,
    DigestLength,
    HsmFault,
    JobExpired,
    JobPoisoned,
    KeyUnknown,
    TokenUnavailable,
)
from queueing.protocol.jobs import JobOutcome, WireError, content_hash, decode_result, deserialize
from tests.support.jobs_in_work import (
    FINGERPRINT,
    FinishedJobs,
    claimed,
    envelope,
    job_in_work,
    one_sink,
    signed,
)
from workers.active_job import ActiveJob, Ending
from workers.lanes.protocol import SliceOutcome

SHORT = WireError.of(DigestLength("short"))
FAULT = WireError.of(HsmFault("gone"))


@pytest.fixture
def finished() -> FinishedJobs:
    return FinishedJobs()


def outcome_of(job: ActiveJob) -> JobOutcome:
    outcome = decode_result(job.result()).outcome
    assert isinstance(outcome, JobOutcome)
    return outcome


def test_slices_in_any_order_make_one_result(finished: FinishedJobs) -> None:
    """Reported when the last digest has its outcome, with each signature at its place."""
    job = job_in_work(finished, 5)
    job.slice_done(3, signed(2))
    assert not finished
    job.slice_done(0, signed(3))
    assert finished == [job]
    outcome = outcome_of(job)
    names = [b"signature-0", b"signature-1", b"signature-2", b"signature-0", b"signature-1"]
    assert outcome.signatures == tuple(names)
    assert (outcome.key, outcome.key_version, outcome.public_key_sha256) == ("release", 3, FINGERPRINT)
    assert job.ending is Ending.RESULT


def test_an_error_of_a_digest_stands_at_its_place_in_the_job(finished: FinishedJobs) -> None:
    """Slices count from their own first digest."""
    job = job_in_work(finished, 4)
    job.slice_done(0, signed(2))
    job.slice_done(2, SliceOutcome(None, 3, FINGERPRINT, (b"s", None), {1: SHORT}))
    outcome = outcome_of(job)
    assert outcome.errors == {3: SHORT}
    assert outcome.signatures[3] is None
    assert job.ending is Ending.RESULT


def test_a_refused_envelope_ends_the_whole_job_at_once(finished: FinishedJobs) -> None:
    """The other slices' answers come later and change nothing."""
    job = job_in_work(finished, 4)
    job.slice_done(0, SliceOutcome(WireError.of(ClientRevoked())))
    assert finished == [job]
    job.slice_done(2, signed(2))
    job.slice_unavailable(0, 2)
    assert finished == [job]
    assert isinstance(decode_result(job.result()).outcome, ClientRevoked)
    assert job.ending is Ending.RESULT


def test_a_token_that_went_away_gives_the_job_back(finished: FinishedJobs) -> None:
    """A job whose token became unavailable is returned when no lane has a slice of it any more."""
    job = job_in_work(finished, 4)
    job.slice_unavailable(2, 2)
    assert not finished
    job.slice_done(0, signed(2))
    assert finished == [job]
    assert job.ending is Ending.RETURN
    assert isinstance(job.unavailable, TokenUnavailable)
    assert job.maybe_signed


def test_a_fault_of_the_hsm_at_one_digest_gives_the_job_back(finished: FinishedJobs) -> None:
    """It may succeed later; a client never sees a job that is half done."""
    job = job_in_work(finished, 2)
    job.slice_done(0, SliceOutcome(None, 3, FINGERPRINT, (b"s", None), {1: FAULT}))
    assert job.ending is Ending.RETURN
    assert isinstance(job.unavailable, HsmFault)


def test_an_expired_job_has_a_result_and_may_be_sent_again(finished: FinishedJobs) -> None:
    """Retryable by the client, who renews the envelope; the queue cannot."""
    job = job_in_work(finished, 2)
    job.slice_done(0, SliceOutcome(WireError.of(JobExpired())))
    assert job.ending is Ending.RESULT
    raw = job.result()
    assert isinstance(decode_result(raw).outcome, JobExpired)
    assert deserialize(raw)["k"]["again"] == 1


def test_a_poisoned_job_ends_and_counts_as_perhaps_signed(finished: FinishedJobs) -> None:
    """Lanes ended over it: what the HSM did is unknown."""
    job = job_in_work(finished, 2)
    job.slice_poisoned(0, 1, ["exit_5"])
    assert job.ending is Ending.RESULT
    assert isinstance(decode_result(job.result()).outcome, JobPoisoned)
    assert job.maybe_signed


def test_a_poisoned_job_leaves_its_evidence(finished: FinishedJobs) -> None:
    """The whole job, how its lanes ended, and what was tried before; no other failure leaves a dead letter."""
    job = job_in_work(finished, 2)
    assert job.dead_letter("w1") == b""
    job.slice_poisoned(0, 1, ["exit_5", "signal_11"])
    letter = msgspec.msgpack.decode(job.dead_letter("w1"), type=DeadLetter)
    assert (letter.reason, letter.worker, letter.attempts) == ("job.poisoned", "w1", 2)
    assert letter.lane_ends == ("exit_5", "signal_11")
    assert (letter.payload, letter.digests, letter.key, letter.client) == (b"payload", 2, "release", "ci")
    refused = job_in_work(finished)
    refused.fail(KeyUnknown())
    assert refused.dead_letter("w1") == b""


def test_a_job_over_which_the_hsm_failed_goes_back(finished: FinishedJobs) -> None:
    """Perhaps signed, to be tried again."""
    job = job_in_work(finished, 2)
    job.slice_done(0, signed(1))
    job.slice_faulted(1, 1)
    assert finished == [job]
    assert job.ending is Ending.RETURN
    assert isinstance(job.unavailable, HsmFault)
    assert job.maybe_signed


def test_the_first_failure_counts(finished: FinishedJobs) -> None:
    """And a failure counts more than a token that went away."""
    job = job_in_work(finished, 3)
    job.slice_unavailable(0, 1)
    job.slice_done(1, SliceOutcome(WireError.of(KeyUnknown())))
    job.slice_poisoned(2, 1, [])
    assert finished == [job]
    assert job.ending is Ending.RESULT
    assert isinstance(decode_result(job.result()).outcome, KeyUnknown)


def test_a_job_that_could_not_be_read_is_refused_too(finished: FinishedJobs) -> None:
    """Its id may be any bytes; it counts as one digest."""
    job = ActiveJob(claimed(b"\xff\xfe"), one_sink(finished))
    job.fail(KeyUnknown())
    assert finished == [job]
    assert job.digests == 1
    assert isinstance(decode_result(job.result()).outcome, KeyUnknown)


def test_the_result_carries_the_hash_of_the_content(finished: FinishedJobs) -> None:
    """By which a repeat is told from a conflict: of the envelope, whatever stands beside it."""
    job = job_in_work(finished)
    assert job.hints.h
    job.slice_done(0, signed(1))
    assert decode_result(job.result()).content == content_hash(envelope(1)) != job.hints.h


def test_the_result_is_arqs_own_form(finished: FinishedJobs) -> None:
    """With the attempt, the queue and the id that stock tools show."""
    job = job_in_work(finished)
    job.slice_done(0, signed(1))
    result = deserialize(job.result())
    assert {"t", "f", "a", "k", "et", "s", "r", "st", "ft", "q", "id"} == result.keys()
    assert (result["t"], result["f"], result["q"], result["id"]) == (2, "sign", "sigmill:{acme}:queue", "job")


def test_a_key_that_was_rotated_between_two_slices_gives_the_job_back(finished: FinishedJobs) -> None:
    """A result names one version: signatures of two would be no signatures to its client."""
    job = job_in_work(finished, 5)
    job.slice_done(0, signed(3))
    job.slice_done(3, msgspec.structs.replace(signed(2), key_version=4, public_key_sha256=b"g" * 32))
    assert finished == [job]
    assert job.ending is Ending.RETURN
    assert job.maybe_signed
