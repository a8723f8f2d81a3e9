"""Results and dead letters of finished jobs, as they are written to Redis."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from queueing.broker.dead_letters import DeadLetter
from queueing.errors import (
    ClientRevoked,
    EnvelopeExpired,
    GrantRefused,
    JobExpired,
    KeyUnknown,
    PolicyDenied,
    SigningError,
)
from queueing.protocol.jobs import JobOutcome, WireError, content_hash, decode_result, deserialize
from tests.support.fakes.active_jobs import FINGERPRINT, FinishedJobs, envelope, job_in_work, signed
from workers.active_job import Ending
from workers.job_result import encode_dead_letter, encode_job_result
from workers.lanes.protocol import SliceOutcome


@pytest.fixture
def finished() -> FinishedJobs:
    return FinishedJobs()


@pytest.mark.parametrize("failure", [JobExpired, EnvelopeExpired])
def test_a_job_of_wrong_dates_has_a_result_and_may_be_sent_again(
    finished: FinishedJobs, failure: type[SigningError]
) -> None:
    """The client can renew the envelope, the second one after its clock was set; the queue cannot."""
    job = job_in_work(finished, 2)
    job.slice_refused(0, 2, failure())
    assert job.ending is Ending.RESULT
    raw = encode_job_result(job)
    assert isinstance(decode_result(raw).outcome, failure)
    assert deserialize(raw)["k"]["again"] == 1


@pytest.mark.parametrize("failure", [ClientRevoked, GrantRefused, PolicyDenied])
def test_a_job_whose_grant_is_denied_may_be_sent_again_under_another(
    finished: FinishedJobs, failure: type[SigningError]
) -> None:
    """One of a client may not: nothing about it would be new."""
    granted, own = job_in_work(finished, 2), job_in_work(finished, 2)
    assert granted.envelope is not None
    granted.envelope = replace(granted.envelope, grant=b"grant")
    for job in (granted, own):
        job.slice_refused(0, 2, failure())
    assert deserialize(encode_job_result(granted))["k"]["again"] == 1
    assert "again" not in deserialize(encode_job_result(own))["k"]


def test_a_poisoned_job_makes_a_dead_letter(finished: FinishedJobs) -> None:
    """It has the job, the ends of its lanes and the attempts; no other failure makes one."""
    job = job_in_work(finished, 2)
    assert encode_dead_letter(job, "w1") == b""
    job.slice_poisoned(0, 1, ["exit_5", "signal_11"])
    letter = msgspec.msgpack.decode(encode_dead_letter(job, "w1"), type=DeadLetter)
    assert (letter.reason, letter.worker, letter.attempts) == ("job.poisoned", "w1", 2)
    assert letter.lane_ends == ("exit_5", "signal_11")
    assert (letter.payload, letter.digests, letter.key, letter.client) == (b"payload", 2, "release", "ci")
    refused = job_in_work(finished)
    refused.fail(KeyUnknown())
    assert encode_dead_letter(refused, "w1") == b""


def test_the_result_carries_the_hash_of_the_content(finished: FinishedJobs) -> None:
    """A repeat is told from a conflict by it: the hash is that of the envelope, whatever the unsigned hint is."""
    job = job_in_work(finished)
    assert job.hints.h
    job.slice_done(0, signed(1))
    assert decode_result(encode_job_result(job)).content == content_hash(envelope(1)) != job.hints.h


def test_the_result_has_arqs_own_form(finished: FinishedJobs) -> None:
    """Stock tools show its attempt, queue and id."""
    job = job_in_work(finished)
    job.slice_done(0, signed(1))
    result = deserialize(encode_job_result(job))
    assert {"t", "f", "a", "k", "et", "s", "r", "st", "ft", "q", "id"} == result.keys()
    assert (result["t"], result["f"], result["q"], result["id"]) == (2, "sign", "sigmill:{acme}:queue", "job")


def test_error_texts_of_a_result_are_bounded_together() -> None:
    """A thousand refused digests keep their codes; the texts beyond the bound are left out."""
    job = job_in_work(count=1024)
    error = WireError("digest.length", "x" * 2000)
    job.slice_done(0, SliceOutcome(None, 1, FINGERPRINT, (None,) * 1024, dict.fromkeys(range(1024), error)))
    result = encode_job_result(job)
    assert len(result) < 64 * 1024
    outcome = decode_result(result).outcome
    assert isinstance(outcome, JobOutcome)
    assert {each.code for each in outcome.errors.values()} == {"digest.length"}
    assert len(outcome.errors) == 1024
    assert outcome.errors[0].message == "x" * 2000


def test_a_long_job_id_is_not_repeated_in_its_result() -> None:
    """A stock producer may choose an id of 16 KiB; the result lies under it already."""
    job = job_in_work(job_id=b"i" * 16_384)
    job.fail(KeyUnknown())
    assert len(encode_job_result(job)) < 1024
