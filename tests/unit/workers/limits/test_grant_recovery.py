"""Counts of grants after a restart, from the write-ahead log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from queueing.errors import EnvelopeSignature, GrantExhausted, LogUnavailable, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import JobHints
from tests.support.fakes.active_jobs import job_in_work, signed
from tests.support.fakes.config_files import Site, tenant_text
from tests.support.fakes.grants import NOW_MS, grant, issuer_text, sealed_grant, sealed_under
from tests.support.farm.lost_sectors import lose
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
from workers.lanes.grant_usage import KEPT_MS
from workers.lanes.signatories import GRANT_SKEW_MS
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


def with_an_issuer(folder: Path) -> CurrentConfig:
    """A tenant whose issuer gives grants of a quarter of an hour."""
    text = tenant_text().replace("[keys.release]", '[keys.release]\nissuers = ["ci"]') + issuer_text()
    return CurrentConfig(load_configuration(Site(folder, tenants={"acme": text}).write().config))


def log_of(folder: Path, *records: Record) -> Path:
    folder.mkdir(exist_ok=True)
    all_records = (OpenedRecord(NOW_MS, 1), *records)
    segment_path(folder, 1).write_bytes(b"".join(frame(encode_record(each)) for each in all_records))
    return folder


def counts(folder: Path) -> list[int]:
    return [digests for _, _, digests in counted_before(folder, since_s=0).counted]


def test_a_job_that_was_signed_is_counted(tmp_path: Path) -> None:
    """The count has its grant and its content; a job of a client, which has no grant, is not counted."""
    folder = log_of(tmp_path / "log", intent(sealed_under()), outcome(done()))
    ((found, content, digests),) = counted_before(folder, since_s=0).counted
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


def test_what_can_be_read_behind_a_lost_sector_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something may be missing, and which place it is is told."""
    folder = log_of(tmp_path / "log", intent(b"s" * 8192, job_id=b"lost"), intent(sealed_under()))
    lose(monkeypatch, segment_path(folder, 1), range(4096, 8192))
    found = counted_before(folder, since_s=0)
    assert [digests for _, _, digests in found.counted] == [2]
    assert found.lacking.startswith("000000000001.wal: ")


def test_old_segments_are_not_read(tmp_path: Path) -> None:
    """Their grants have ended."""
    folder = log_of(tmp_path / "log", intent(sealed_under()))
    assert counted_before(folder, since_s=segment_path(folder, 1).stat().st_mtime + 1).counted == []


def unreadable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch, segment_path(folder, 1), range(1 << 20))


def with_a_segment_that_cannot_be_opened(folder: Path, _: pytest.MonkeyPatch) -> None:
    file = segment_path(folder, 1)
    file.unlink()
    file.symlink_to(file.name)


def with_a_damaged_record(folder: Path, _: pytest.MonkeyPatch) -> None:
    file = segment_path(folder, 1)
    data = bytearray(file.read_bytes())
    data[data.index(b"acme") + 1] ^= 1
    file.write_bytes(bytes(data))


def with_a_record_of_a_later_version(folder: Path, _: pytest.MonkeyPatch) -> None:
    file = segment_path(folder, 1)
    file.write_bytes(file.read_bytes() + frame(b"\x91\xa7Unknown"))


@pytest.mark.parametrize(
    "harm",
    [
        unreadable,
        with_a_segment_that_cannot_be_opened,
        with_a_damaged_record,
        with_a_record_of_a_later_version,
    ],
)
async def test_a_log_that_cannot_be_read_whole_stops_grants_from_before_the_start(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    """Their use is not known. The start continues, the operator is told, and grants from after it are good."""
    folder = log_of(tmp_path / "log", intent(sealed_under()), outcome(done()))
    budgets = GrantBudgets(cast("Redis", None), with_an_issuer(tmp_path))
    started_ms = int(segment_path(folder, 1).stat().st_mtime * 1000)
    harm(folder, monkeypatch)
    await budgets.recover(folder, started_ms)
    assert budgets.uncounted
    assert "grants.uncounted" in caplog.text
    minute_ms = GRANT_SKEW_MS

    old, new = job_in_work(count=1), job_in_work(count=1)
    old.grant = grant(not_before_ms=started_ms + minute_ms, expires_ms=started_ms + 60 * minute_ms)
    new.grant = grant(
        not_before_ms=started_ms + minute_ms + 1, expires_ms=started_ms + 60 * minute_ms, grant_id=b"n" * 16
    )
    with pytest.raises(LogUnavailable):
        budgets.reserve(old, started_ms + 2 * minute_ms)
    with pytest.raises(GrantExhausted, match="counts as used up"):
        budgets.reserve(old, started_ms + 2 * minute_ms + 1)
    budgets.reserve(new, started_ms)
    budgets.reserve(job_in_work(count=1), started_ms)

    budgets.forget_expired(started_ms + 900_000 + KEPT_MS)
    assert budgets.uncounted
    budgets.forget_expired(started_ms + 900_000 + KEPT_MS + 1)
    assert not budgets.uncounted


async def test_a_restart_continues_the_count_of_a_grant(tmp_path: Path) -> None:
    """One digest of a cap of three is left; a repetition of the job is permitted."""
    small = sealed_grant(max_digests=3)
    folder = log_of(tmp_path / "log", intent(sealed_under(small)), outcome(done()))
    budgets = GrantBudgets(cast("Redis", None), with_an_issuer(tmp_path))
    await budgets.recover(folder, int(segment_path(folder, 1).stat().st_mtime * 1000))
    job, again = job_in_work(count=2), job_in_work(count=2)
    job.grant = again.grant = grant(max_digests=3)
    with pytest.raises(GrantExhausted):
        budgets.reserve(job, NOW_MS)
    envelope = read_unverified(sealed_under(small)).envelope
    again.set_content(b"sealed", envelope, JobHints(n=2), 1)
    budgets.reserve(again, NOW_MS)
    one = job_in_work(count=1)
    one.grant = grant(max_digests=3)
    budgets.reserve(one, NOW_MS)
    assert not budgets.uncounted


async def test_a_service_without_issuers_reads_nothing(tmp_path: Path) -> None:
    """It has no grants to count: even a log that cannot be read changes nothing."""
    config = CurrentConfig(load_configuration(Site(tmp_path).write().config))
    unreadable = tmp_path / "log"
    unreadable.write_text("no folder")
    budgets = GrantBudgets(cast("Redis", None), config)
    await budgets.recover(unreadable, NOW_MS)
    assert not budgets.uncounted
