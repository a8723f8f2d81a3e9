"""History of a job from the record, when the write-ahead log has it no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from queueing.protocol.jobs import job_id_of
from tests.support.fakes.grants import sealed_under
from tests.support.farm.logged_jobs import append, intent, job, job_under
from tests.support.farm.sealed_logs import seal
from workers.cli.status.record_history import recorded_histories
from workers.journal.segment_writer import SegmentWriter


def id_of(tenant: str, number: int) -> bytes:
    return job_id_of(tenant, number.to_bytes(16)).encode()


def test_a_job_is_found_by_its_id_with_all_that_came_of_it(tmp_path: Path) -> None:
    """Of its own tenant; other jobs, and those of which nothing was signed, have no events."""
    append(
        SegmentWriter(tmp_path / "wal"),
        *job("acme", 1),
        *job("globex", 2),
        intent("acme", 3),
        *job("acme", 4),
    )
    seal(tmp_path)
    shutil.rmtree(tmp_path / "wal")
    owners = {id_of("acme", number): "acme" for number in (1, 2, 3)} | {id_of("globex", 2): "globex"}
    found = recorded_histories(tmp_path, owners, since_s=0.0)
    assert [(event.what, event.at_ms) for event in found[id_of("acme", 1)]] == [
        ("intent", 1),
        ("outcome", 1),
        ("committed", 1),
    ]
    first, outcome, last = found[id_of("globex", 2)]
    assert (first.client, first.key, first.digests, first.attempt) == ("build-1", "release", 2, 1)
    assert (outcome.signed, outcome.failed, outcome.code) == (1, 1, "")
    assert all(event.from_record for event in (first, outcome, last))
    assert found[id_of("acme", 2)] == found[id_of("acme", 3)] == []


@pytest.mark.parametrize("ended", ["unknown", "returned-in-doubt"])
def test_a_job_in_doubt_is_found_with_the_subject_of_its_grant(tmp_path: Path, ended: str) -> None:
    """Its items are beside its end: nothing says that it was not signed. One that came back unsigned has none."""
    sealed = [sealed_under(idempotency_key=number.to_bytes(16)) for number in (1, 2)]
    append(
        SegmentWriter(tmp_path / "wal"), *job_under(1, sealed[0], ended), *job_under(2, sealed[1], "returned")
    )
    seal(tmp_path)
    shutil.rmtree(tmp_path / "wal")
    owners = {id_of("acme", number): "acme" for number in (1, 2)}
    found = recorded_histories(tmp_path, owners, since_s=0.0)
    begun, end = found[id_of("acme", 1)]
    assert (begun.what, begun.subject, begun.evidence_sha256) == (
        "intent",
        "repo:acme/app",
        (b"e" * 32).hex(),
    )
    assert (end.what, end.from_record) == (ended, True)
    assert found[id_of("acme", 2)] == []


def test_what_is_older_is_not_read(tmp_path: Path) -> None:
    append(SegmentWriter(tmp_path / "wal"), *job("acme", 1))
    seal(tmp_path)
    assert recorded_histories(tmp_path, {id_of("acme", 1): "acme"}, since_s=60.0) == {id_of("acme", 1): []}


def test_a_job_that_has_no_end_yet_has_its_outcome(tmp_path: Path) -> None:
    append(SegmentWriter(tmp_path / "wal"), *job("acme", 1)[:2])
    seal(tmp_path)
    found = recorded_histories(tmp_path, {id_of("acme", 1): "acme"}, since_s=0.0)
    assert [event.what for event in found[id_of("acme", 1)]] == ["intent", "outcome"]


def test_a_tenant_without_a_log_has_no_events(tmp_path: Path) -> None:
    assert recorded_histories(tmp_path, {id_of("acme", 1): "acme"}, since_s=0.0) == {id_of("acme", 1): []}
