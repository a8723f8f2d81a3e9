"""Recovered results: a job that is claimed again after a crash is published from the log if it is the same job."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from queueing import ClientKey
from queueing.broker.claims import ClaimedJob
from queueing.errors import KeyUnknown
from queueing.protocol.envelope import seal
from queueing.protocol.jobs import JobHints, encode_job
from tests.support.fakes.active_jobs import claimed, envelope, job_in_work, signed
from workers.job_result import encode_job_result
from workers.journal.records import OutcomeRecord
from workers.pipeline.recovered_results import RecoveredResults

KEY = ClientKey.generate()


def outcome(digests: int = 2, *, refused: bool = False) -> OutcomeRecord:
    job = job_in_work(None, digests)
    if refused:
        job.fail(KeyUnknown())
    else:
        job.slice_done(0, signed(digests))
    return OutcomeRecord(1, "acme", b"job", b"old:1", "", encode_job_result(job))


def again(digests: int = 2, *, tenant: str = "acme", job_id: bytes = b"job") -> ClaimedJob:
    payload = encode_job(seal(envelope(digests), KEY), JobHints(), 1)
    return replace(claimed(job_id, tenant=tenant), payload=payload)


@pytest.fixture
def before() -> RecoveredResults:
    made = RecoveredResults()
    made.add([outcome()])
    return made


def test_the_same_job_is_published_once(before: RecoveredResults) -> None:
    """The outcome is removed when it is taken."""
    assert before.take(again()) is not None
    assert before.take(again()) is None


def test_an_outcome_is_not_taken_for_another_content_under_the_same_id(before: RecoveredResults) -> None:
    """An attacker who controls Redis can write another job there: its client would get other signatures."""
    assert before.take(again(3)) is None
    assert before.take(replace(again(), payload=b"nonsense")) is None
    assert before.take(again()) is not None


def test_a_job_whose_payload_is_gone_has_its_signatures(before: RecoveredResults) -> None:
    """The id is that of the job, and only its payload was lost."""
    assert before.take(replace(again(), payload=None)) is not None


@pytest.mark.parametrize("other", [again(tenant="globex"), again(job_id=b"other")])
def test_other_jobs_are_not_known(before: RecoveredResults, other: ClaimedJob) -> None:
    """Neither a job of the same id of another tenant, nor another id."""
    assert before.take(other) is None


def test_refusals_are_not_kept() -> None:
    """They cost no signature, and the job may be allowed now."""
    before = RecoveredResults()
    before.add([outcome(refused=True), replace_result(outcome(), b"nonsense")])
    assert before.take(again()) is None


def replace_result(old: OutcomeRecord, result: bytes) -> OutcomeRecord:
    return OutcomeRecord(old.at_ms, old.tenant, old.job_id, old.lease, old.reply_id, result)


def test_a_published_outcome_is_forgotten(before: RecoveredResults) -> None:
    """The same job may be signed again after its retention."""
    before.forget(outcome())
    assert before.take(again()) is None
