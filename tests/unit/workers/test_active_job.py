"""Claimed jobs: given to their sink once, when every digest has its outcome."""

from __future__ import annotations

import msgspec
import pytest

from queueing.errors import (
    ClientRevoked,
    DigestLength,
    EnvelopeExpired,
    HsmFault,
    JobExpired,
    JobPoisoned,
    KeyUnknown,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.jobs import JobOutcome, WireError, decode_result, deserialize
from tests.support.fakes.active_jobs import (
    FINGERPRINT,
    FinishedJobs,
    claimed,
    job_in_work,
    job_partly_sent,
    one_sink,
    signed,
)
from workers.active_job import ActiveJob, Ending, JobSinks
from workers.job_result import encode_job_result
from workers.lanes.protocol import SliceOutcome

SHORT = WireError.of(DigestLength("short"))
FAULT = WireError.of(HsmFault("gone"))


@pytest.fixture
def finished() -> FinishedJobs:
    return FinishedJobs()


def outcome_of(job: ActiveJob) -> JobOutcome:
    outcome = decode_result(encode_job_result(job)).outcome
    assert isinstance(outcome, JobOutcome)
    return outcome


def test_slices_in_any_order_make_one_result(finished: FinishedJobs) -> None:
    """The job goes to its sink with the last slice, and each signature is at its place."""
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


def test_an_error_of_a_digest_is_at_its_place_in_the_job(finished: FinishedJobs) -> None:
    """A lane counts from the first digest of its slice, the result from the first of the job."""
    job = job_in_work(finished, 4)
    job.slice_done(0, signed(2))
    job.slice_done(2, SliceOutcome(None, 3, FINGERPRINT, (b"s", None), {1: SHORT}))
    outcome = outcome_of(job)
    assert outcome.errors == {3: SHORT}
    assert outcome.signatures[3] is None
    assert job.ending is Ending.RESULT


def test_a_refused_envelope_ends_the_whole_job_at_once(finished: FinishedJobs) -> None:
    """Answers for its other slices, which come later, change nothing."""
    job = job_in_work(finished, 4)
    job.slice_refused(0, 2, ClientRevoked())
    assert finished == [job]
    job.slice_done(2, signed(2))
    job.slice_unavailable(0, 2)
    assert finished == [job]
    assert isinstance(decode_result(encode_job_result(job)).outcome, ClientRevoked)
    assert job.ending is Ending.RESULT


@pytest.mark.parametrize(
    "by_worker, by_lane, oldest",
    [(4, 3, 3), (4, 4, 4), (3, 4, 3), (4, None, 4), (None, 3, 3), (4, -1, -1), (None, None, None)],
)
def test_a_refused_job_knows_the_oldest_file_that_judged_it(
    finished: FinishedJobs, by_worker: int | None, by_lane: int | None, oldest: int | None
) -> None:
    """A lane may have an older one than the worker; a lane of a former version does not say."""
    job = job_in_work(finished, 1)
    job.epoch = by_worker
    job.slice_refused(0, 1, KeyUnknown(), by=by_lane)
    assert job.epoch == oldest


def test_a_job_whose_token_becomes_unavailable_is_returned(finished: FinishedJobs) -> None:
    """It is returned once no lane has a slice of it."""
    job = job_in_work(finished, 4)
    job.slice_unavailable(2, 2)
    assert not finished
    job.slice_done(0, signed(2))
    assert finished == [job]
    assert job.ending is Ending.RETURN
    assert isinstance(job.unavailable, TokenUnavailable)
    assert job.maybe_signed


def test_a_job_with_one_digest_that_the_hsm_failed_on_is_returned(finished: FinishedJobs) -> None:
    """The digest may be signed later; a client never sees a job that is half done."""
    job = job_in_work(finished, 2)
    job.slice_done(0, SliceOutcome(None, 3, FINGERPRINT, (b"s", None), {1: FAULT}))
    assert job.ending is Ending.RETURN
    assert isinstance(job.unavailable, HsmFault)


def test_a_job_that_expires_between_two_slices_may_be_sent_again_and_its_signatures_are_on_record(
    finished: FinishedJobs,
) -> None:
    """The next submission signs all of it: the outcome says how many were signed before."""
    job = job_in_work(finished, 4)
    job.slice_done(0, signed(3))
    job.slice_refused(3, 1, JobExpired())
    assert deserialize(encode_job_result(job))["k"]["again"] == 1
    assert (job.recorded, job.dropped) == (True, 3)


def test_a_poisoned_job_has_a_result_and_counts_as_perhaps_signed(finished: FinishedJobs) -> None:
    """Its lanes exited: the HSM may have signed before."""
    job = job_in_work(finished, 2)
    job.slice_poisoned(0, 1, ["exit_5"])
    assert job.ending is Ending.RESULT
    assert isinstance(decode_result(encode_job_result(job)).outcome, JobPoisoned)
    assert job.maybe_signed


def test_a_job_that_the_hsm_failed_on_is_returned(finished: FinishedJobs) -> None:
    """It counts as perhaps signed."""
    job = job_in_work(finished, 2)
    job.slice_done(0, signed(1))
    job.slice_faulted(1, 1)
    assert finished == [job]
    assert job.ending is Ending.RETURN
    assert isinstance(job.unavailable, HsmFault)
    assert job.maybe_signed


def test_the_first_failure_is_the_result(finished: FinishedJobs) -> None:
    """A failure outweighs an unavailable token: the job is not returned."""
    job = job_in_work(finished, 3)
    job.slice_unavailable(0, 1)
    job.slice_refused(1, 1, KeyUnknown())
    job.slice_poisoned(2, 1, [])
    assert finished == [job]
    assert job.ending is Ending.RESULT
    assert isinstance(decode_result(encode_job_result(job)).outcome, KeyUnknown)


def test_a_job_that_cannot_be_read_has_a_result_too(finished: FinishedJobs) -> None:
    """Its id may be any bytes, and it counts as one digest."""
    job = ActiveJob(claimed(b"\xff\xfe"), one_sink(finished))
    job.fail(KeyUnknown())
    assert finished == [job]
    assert job.digests == 1
    assert isinstance(decode_result(encode_job_result(job)).outcome, KeyUnknown)


def test_a_job_whose_key_is_rotated_between_two_slices_is_returned(finished: FinishedJobs) -> None:
    """A result names one version: its client would verify every signature with that one."""
    job = job_in_work(finished, 5)
    job.slice_done(0, signed(3))
    job.slice_done(3, msgspec.structs.replace(signed(2), key_version=4, public_key_sha256=b"g" * 32))
    assert finished == [job]
    assert job.ending is Ending.RETURN
    assert job.maybe_signed


def test_results_and_returns_go_to_different_sinks() -> None:
    """A returned job does not wait for the log, which may hold up results."""
    results, returns = FinishedJobs(), FinishedJobs()
    sinks = JobSinks(results=results, returns=returns)
    published, returned = job_in_work(sinks), job_in_work(sinks)
    published.fail(KeyUnknown())
    returned.requeue(TokenUnavailable())
    assert (results, returns) == ([published], [returned])


@pytest.mark.parametrize("error", [JobExpired(), ClientRevoked(), EnvelopeExpired()])
def test_signatures_made_before_a_slice_is_refused_are_counted_as_dropped(
    finished: FinishedJobs, error: SigningError
) -> None:
    """The result has the error alone, so nothing else would say that the HSM has signed."""
    job = job_in_work(finished, 6)
    job.slice_done(0, signed(2))
    job.slice_refused(2, 4, error)
    assert (job.ending, job.dropped, job.maybe_signed) == (Ending.RESULT, 2, True)


def test_digests_that_other_lanes_have_when_a_slice_is_refused_are_counted_as_dropped(
    finished: FinishedJobs,
) -> None:
    """A lane that has read its files later may sign them, after the job's end; its answer changes no number."""
    job = job_in_work(finished, 6)
    job.slice_done(0, signed(1))
    job.slice_refused(1, 2, ClientRevoked())
    assert job.dropped == 1 + 3
    job.slice_done(3, signed(3))
    job.slice_refused(3, 3, ClientRevoked())
    assert job.dropped == 1 + 3


def test_a_job_that_is_refused_as_a_whole_has_nothing_dropped(finished: FinishedJobs) -> None:
    """No lane has signed anything, and none will."""
    job = job_in_work(finished, 6)
    job.slice_refused(0, 6, ClientRevoked())
    assert (job.dropped, job.maybe_signed) == (0, False)


def test_a_job_returned_over_one_slice_may_be_signed_by_another(finished: FinishedJobs) -> None:
    """Its other digests are in a lane when it goes back to the queue."""
    job = job_in_work(finished, 6)
    job.slice_refused(0, 2, TokenUnavailable())
    assert (job.ending, job.maybe_signed) == (Ending.RETURN, True)


def test_a_digest_whose_lane_exited_counts_as_dropped_although_another_signs_it(
    finished: FinishedJobs,
) -> None:
    """The HSM may have signed it twice, and the result has one signature."""
    job = job_in_work(finished, 2)
    job.slice_in_doubt(2)
    job.slice_done(0, signed(2))
    assert (job.ending, job.dropped) == (Ending.RESULT, 2)


def test_the_other_slices_of_a_poisoned_job_count_as_dropped(finished: FinishedJobs) -> None:
    job = job_in_work(finished, 5)
    job.slice_done(0, signed(2))
    job.slice_in_doubt(1)
    job.slice_poisoned(2, 1, ["exit_5"])
    assert job.dropped == 2 + 1 + 2


def test_digests_that_never_reached_a_lane_do_not_count_as_dropped(finished: FinishedJobs) -> None:
    """They waited behind the slice that ended the job, and are not signed any more."""
    job = job_partly_sent(finished, 6, sent=3)
    job.slice_done(0, signed(1))
    job.slice_refused(1, 2, ClientRevoked())
    assert (finished, job.dropped, job.needs_signatures) == ([job], 1, False)
    job.slice_skipped(3)
    assert (finished, job.dropped) == ([job], 1)


def test_an_ended_job_whose_only_slice_was_refused_is_not_perhaps_signed(finished: FinishedJobs) -> None:
    """The rest of it waited: its returned record would say that a lane may have signed it."""
    job = job_partly_sent(finished, 6, sent=2)
    job.slice_refused(0, 2, TokenUnavailable())
    assert (job.ending, job.maybe_signed) == (Ending.RETURN, False)


def test_a_lane_that_exits_after_the_end_of_its_job_is_not_counted_again(finished: FinishedJobs) -> None:
    """The end has counted what lanes had, and the record of the outcome is perhaps not made yet."""
    job = job_in_work(finished, 4)
    job.slice_refused(0, 2, ClientRevoked())
    assert job.dropped == 2
    job.slice_in_doubt(2)
    job.slice_skipped(2)
    assert job.dropped == 2


def test_what_lanes_answer_after_the_end_does_not_change_it(finished: FinishedJobs) -> None:
    """A returned job stays returned, and one with a result keeps its error; each has gone to its sink once."""
    returned, failed = job_in_work(finished, 4), job_in_work(finished, 4)
    returned.slice_refused(0, 2, TokenUnavailable())
    failed.slice_refused(0, 2, ClientRevoked())
    for job in (returned, failed):
        job.slice_refused(2, 1, KeyUnknown())
        job.slice_poisoned(2, 1, ["signal_11"])
        job.slice_faulted(2, 1)
        job.slice_done(3, signed(1))
        job.slice_skipped(4)
    assert finished == [returned, failed]
    assert (returned.ending, failed.ending) == (Ending.RETURN, Ending.RESULT)
    assert isinstance(returned.unavailable, TokenUnavailable)
    assert isinstance(failed.failure, ClientRevoked)
    assert failed.unavailable is None
    assert (failed.lane_ends, failed.signatures) == ((), [None] * 4)


def test_a_job_that_will_be_requeued_gets_no_more_lanes(finished: FinishedJobs) -> None:
    """What they signed of it would be signed again; it ends when no lane has anything of it."""
    job = job_partly_sent(finished, 6, sent=4)
    needs = [job.needs_signatures]
    job.slice_faulted(0, 2)
    needs.append(job.needs_signatures)
    assert needs == [True, False]
    job.slice_skipped(2)
    assert not finished
    job.slice_done(2, signed(2))
    assert finished == [job]


@pytest.mark.parametrize("first", [True, False])
def test_a_fault_of_the_hsm_outweighs_an_unavailable_token(finished: FinishedJobs, first: bool) -> None:
    """In either order."""
    job = job_in_work(finished, 4)
    if first:
        job.slice_faulted(0, 2)
        job.slice_unavailable(2, 2)
    else:
        job.slice_unavailable(2, 2)
        job.slice_faulted(0, 2)
    assert isinstance(job.unavailable, HsmFault)


def test_signatures_of_a_result_that_is_replaced_count_as_dropped(finished: FinishedJobs) -> None:
    job = job_in_work(finished, 2)
    job.slice_done(0, signed(2))
    assert job.dropped == 0
    job.replace_result(HsmFault())
    assert job.dropped == 2


def test_a_requeued_job_is_due_later() -> None:
    """It was not given to a lane; a job that lost its lane keeps its place instead."""
    requeued, unsent = job_in_work(), job_in_work()
    requeued.requeue(TokenUnavailable())
    unsent.slice_unavailable(0, 1)
    assert (requeued.delayed, requeued.turned_back) == (True, True)
    assert (unsent.delayed, unsent.turned_back) == (False, False)
