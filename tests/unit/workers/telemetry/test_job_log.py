"""Lines of jobs: one for those that go together, and none at all unless they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from queueing.broker.claims import CommitStatus
from tests.support.fakes.active_jobs import claimed, job_in_work
from workers.journal.records import OutcomeRecord
from workers.telemetry import job_log
from workers.telemetry.json_logs import JOBS, ROOT, set_levels


@pytest.fixture
def levels() -> Iterator[None]:
    """As they were, afterwards."""
    before = [(name, logging.getLogger(name).level) for name in (ROOT, JOBS)]
    yield
    for name, level in before:
        logging.getLogger(name).setLevel(level)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    fields = ("tenant", "outcome", "reason", "jobs")
    return [
        (record.getMessage(), {name: vars(record)[name] for name in fields if name in vars(record)})
        for record in caplog.records
    ]


def outcome(job_id: bytes, tenant: str = "acme") -> OutcomeRecord:
    return OutcomeRecord(1, tenant, job_id, b"w:1", "", b"")


def everything() -> None:
    job_log.claimed("acme", [claimed(b"a"), claimed(b"\xff")])
    job_log.claimed("acme", [])
    job_log.released(
        [outcome(b"a"), outcome(b"b"), outcome(b"c", "globex")],
        [CommitStatus.COMMITTED, CommitStatus.FENCED, CommitStatus.COMMITTED],
    )
    back = job_in_work()
    job_log.returned([(back, "drain"), (back, "drain")])


def test_jobs_that_go_together_share_a_line(caplog: pytest.LogCaptureFixture, levels: None) -> None:
    """By tenant, and by what became of them."""
    set_levels("info", jobs=True)
    everything()
    assert lines(caplog) == [
        ("jobs.claimed", {"tenant": "acme", "jobs": ["a", "\ufffd"]}),
        ("jobs.released", {"tenant": "acme", "outcome": "committed", "jobs": ["a"]}),
        ("jobs.released", {"tenant": "acme", "outcome": "fenced", "jobs": ["b"]}),
        ("jobs.released", {"tenant": "globex", "outcome": "committed", "jobs": ["c"]}),
        ("jobs.returned", {"tenant": "acme", "reason": "drain", "jobs": ["job", "job"]}),
    ]


def test_jobs_have_no_lines_unless_they_are_asked_for(caplog: pytest.LogCaptureFixture, levels: None) -> None:
    """Also at the level debug."""
    set_levels("debug", jobs=False)
    everything()
    assert lines(caplog) == []


def test_a_quiet_process_can_still_tell_of_jobs(caplog: pytest.LogCaptureFixture, levels: None) -> None:
    """They are asked for apart from the level."""
    set_levels("error", jobs=True)
    logging.getLogger(f"{ROOT}.service").info("service.started")
    job_log.claimed("acme", [claimed(b"a")])
    assert [name for name, _ in lines(caplog)] == ["jobs.claimed"]
