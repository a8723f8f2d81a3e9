"""Counts of grants after a restart, from the write-ahead log."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from queueing.errors import EnvelopeSignature, GrantExhausted, SigningError
from tests.support.fakes.active_jobs import job_in_work, signed
from tests.support.fakes.config_files import Site, tenant_text
from tests.support.fakes.grants import NOW_MS, grant, issuer_text, sealed_grant, sealed_under
from workers.active_job import ActiveJob
from workers.config.loading import load_configuration
from workers.current_config import CurrentConfig
from workers.job_result import encode_job_result
from workers.journal.records import (
    IntentRecord,
    OpenedRecord,
    OutcomeRecord,
    Record,
    ReturnedRecord,
    encode_record,
)
from workers.journal.segments import frame, segment_path
from workers.limits.grant_budgets import GrantBudgets
from workers.limits.grant_recovery import counted_before

JOB, LEASE = b"job", b"worker:1"


def intent(sealed: bytes, *, job_id: bytes = JOB) -> IntentRecord:
    return IntentRecord(NOW_MS, "acme", job_id, LEASE, 1, sealed)


def outcome(job: ActiveJob, *, dropped: int = 0) -> OutcomeRecord:
    return OutcomeRecord(NOW_MS, "acme", JOB, LEASE, "", encode_job_result(job), b"", dropped)


def refused(error: SigningError) -> ActiveJob:
    job = job_in_work(count=2)
    job.slice_refused(0, 2, error)
    return job


def done() -> ActiveJob:
    job = job_in_work(count=2)
    job.slice_done(0, signed(2))
    return job


def log_of(folder: Path, *records: Record) -> Path:
    folder.mkdir(exist_ok=True)
    all_records = (OpenedRecord(NOW_MS, 1), *records)
    segment_path(folder, 1).write_bytes(b"".join(frame(encode_record(each)) for each in all_records))
    return folder


def counts(folder: Path) -> list[int]:
    return [digests for _, _, digests in counted_before(folder, since_s=0)]


def test_a_job_that_was_signed_is_counted(tmp_path: Path) -> None:
    """And one of a client is not."""
    folder = log_of(tmp_path / "log", intent(sealed_under()), outcome(done()))
    ((found, content, digests),) = counted_before(folder, since_s=0)
    assert (found, len(content), digests) == (grant(), 16, 2)
    assert counts(log_of(tmp_path / "log", intent(sealed_under(grant=None)), outcome(done()))) == []


@pytest.mark.parametrize(
    "records, counted",
    [
        ((), [2]),
        ((outcome(refused(EnvelopeSignature())),), []),
        ((outcome(refused(EnvelopeSignature()), dropped=2),), [2]),
        ((ReturnedRecord(NOW_MS, "acme", JOB, LEASE, False),), []),
        ((ReturnedRecord(NOW_MS, "acme", JOB, LEASE, True),), [2]),
        ((OutcomeRecord(NOW_MS, "acme", JOB, LEASE, "", b"rubbish"),), [2]),
    ],
    ids=["open", "refused", "signed in part", "requeued", "perhaps signed", "unreadable"],
)
def test_only_what_was_surely_not_signed_is_left_out(
    tmp_path: Path, records: tuple[Record, ...], counted: list[int]
) -> None:
    """A process that was killed between intent and outcome may have signed."""
    assert counts(log_of(tmp_path / "log", intent(sealed_under()), *records)) == counted


def test_old_segments_are_not_read(tmp_path: Path) -> None:
    """Their grants have ended."""
    folder = log_of(tmp_path / "log", intent(sealed_under()))
    assert counted_before(folder, since_s=segment_path(folder, 1).stat().st_mtime + 1) == []


def test_a_log_that_cannot_be_read_stops_no_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator reads it in the log of events."""
    folder = log_of(tmp_path / "log", intent(sealed_under()))

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    assert counted_before(folder, since_s=0) == []
    assert "recovery.failed" in caplog.text


async def test_a_restart_goes_on_counting(tmp_path: Path) -> None:
    """Of a cap of three, one digest is left; a repetition of the job is permitted."""
    small = sealed_grant(max_digests=3)
    folder = log_of(tmp_path / "log", intent(sealed_under(small)), outcome(done()))
    text = tenant_text().replace("[keys.release]", '[keys.release]\nissuers = ["ci"]') + issuer_text()
    config = CurrentConfig(load_configuration(Site(tmp_path, tenants={"acme": text}).write().config))
    budgets = GrantBudgets(cast("Redis", None), config)
    await budgets.recover(folder, int(segment_path(folder, 1).stat().st_mtime * 1000))
    job = job_in_work(count=2)
    job.grant = grant(max_digests=3)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job)
    one = job_in_work(count=1)
    one.grant = grant(max_digests=3)
    budgets.reserve(one)


async def test_a_service_without_issuers_reads_nothing(tmp_path: Path) -> None:
    """Its restart is as quick as before."""
    config = CurrentConfig(load_configuration(Site(tmp_path).write().config))
    unreadable = tmp_path / "log"
    unreadable.write_text("no folder")
    await GrantBudgets(cast("Redis", None), config).recover(unreadable, NOW_MS)
