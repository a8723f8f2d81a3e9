"""The doctor's comparison of this host's state directory with the heads of its records in Redis."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Coroutine
from pathlib import Path

import pytest

from queueing.coordination.record_heads import KEEP_MS, PublishedHead
from queueing.errors import QueueUnavailable
from tests.support.farm.certified_logs import certify
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from tests.support.heads.certified_heads import config_of, head_here, signed
from workers.background.record.lost_records import MOST_AGE_MS
from workers.config.service_file import ServiceConfiguration
from workers.config.settings import RecordSettings
from workers.doctor import heads as module
from workers.doctor.findings import State
from workers.doctor.heads import check_heads, compare_heads
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import log_folder
from workers.record.replacement import give_up

HOST = "host-1"
"""As the statements of ``certify`` have it."""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A host with a sealed and certified log of acme."""
    state = tmp_path / "state"
    append(SegmentWriter(state / "wal"), *job("acme", 1))
    seal(state)
    certify(log_folder(state, "acme"))
    return state


def service_of(state_dir: Path, *, record: bool = True) -> ServiceConfiguration:
    return dataclasses.replace(config_of(state_dir).service, record=RecordSettings(enabled=record))


def published(state_dir: Path, *, age_ms: int = MOST_AGE_MS + 1) -> PublishedHead:
    """The newest head of acme, as it was published so long ago."""
    log = log_folder(state_dir, "acme")
    head = head_here(log)
    return PublishedHead("acme", head.origin.rpartition("/")[2], signed(log, head), KEEP_MS - age_ms)


def test_a_record_that_is_here_is_not_lost(state_dir: Path) -> None:
    """Nor the one of another host."""
    there = [published(state_dir)]
    (finding,) = compare_heads(service_of(state_dir), there, HOST)
    assert (finding.check, finding.state) == ("record.lost", State.OK)
    shutil.rmtree(state_dir)
    (finding,) = compare_heads(service_of(state_dir), there, "host-2")
    assert finding.state is State.OK


@pytest.mark.parametrize("successor", ["nothing", "empty", "new"])
def test_a_state_directory_that_was_lost_whole_is_told(state_dir: Path, successor: str) -> None:
    """Its successor has another name, and contradicts nothing that Redis has."""
    head = published(state_dir)
    shutil.rmtree(state_dir)
    if successor != "nothing":
        state_dir.mkdir()
    if successor == "new":
        append(SegmentWriter(state_dir / "wal"), *job("acme", 1))
        seal(state_dir)
    (finding,) = compare_heads(service_of(state_dir), [head], HOST)
    assert (finding.check, finding.state) == ("record.lost", State.FAIL)
    assert f"a record {head.name}, with 4 entries of 1 tenant (acme), last 0.0 days ago" in finding.text


def test_a_record_that_is_published_now_is_in_use_elsewhere_on_this_host(state_dir: Path) -> None:
    """Another state directory of the same host has a worker of its own."""
    head = published(state_dir, age_ms=MOST_AGE_MS)
    shutil.rmtree(state_dir)
    (finding,) = compare_heads(service_of(state_dir), [head], HOST)
    assert finding.state is State.OK


def test_a_record_that_was_given_up_and_moved_away_is_not_lost(state_dir: Path) -> None:
    """The one that is here says that it follows it."""
    head = published(state_dir)
    former = give_up(state_dir)
    seal(state_dir)
    shutil.rmtree(state_dir / former)
    (finding,) = compare_heads(service_of(state_dir), [head], HOST)
    assert finding.state is State.OK


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"\x93\x01\xc0\xc0", b"x" * 10_000])
def test_what_the_service_key_does_not_stand_for_is_no_record_of_this_host(
    state_dir: Path, value: bytes
) -> None:
    """A writer to Redis without the service key makes no finding."""
    head = dataclasses.replace(published(state_dir), value=value)
    other = dataclasses.replace(published(state_dir), name="0" * 16)
    shutil.rmtree(state_dir)
    (finding,) = compare_heads(service_of(state_dir), [head, other], HOST)
    assert finding.state is State.OK


def test_without_redis_or_a_record_there_is_no_finding(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of Redis says that it does not answer."""

    def run(work: Coroutine[None, None, object]) -> None:
        work.close()
        raise QueueUnavailable

    assert check_heads(service_of(state_dir, record=False)) == []
    monkeypatch.setattr(module, "run", run)
    assert check_heads(service_of(state_dir)) == []
