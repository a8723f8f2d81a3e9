"""Scrubber of a worker: paced, and what it finds is logged, counted and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes.configurations import configuration
from tests.support.farm.logged_jobs import append, job
from workers.current_config import CurrentConfig
from workers.journal.journal import WriteAheadLog
from workers.journal.scrubbing import read_report
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import segments_of
from workers.lifecycle import log_scrubber as module
from workers.lifecycle.log_scrubber import LogScrubber
from workers.telemetry.metrics import Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def wal(tmp_path: Path) -> WriteAheadLog:
    """A log of three segments, none of which is written to."""
    for number in range(3):
        writer = SegmentWriter(tmp_path / "wal")
        append(writer, *job("acme", number))
        writer.abandon()
    return WriteAheadLog(tmp_path / "wal")


@pytest.fixture
def scrubber(
    tmp_path: Path, wal: WriteAheadLog, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> LogScrubber:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    return LogScrubber(CurrentConfig(configuration(state_dir=tmp_path)), wal, Metrics(registry))


def flip(file: Path, place: int = 10) -> bytes:
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    file.write_bytes(damaged)
    return whole


async def test_damage_is_logged_counted_and_reported_until_it_is_repaired(
    tmp_path: Path,
    wal: WriteAheadLog,
    scrubber: LogScrubber,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With segment and offset; a segment that was restored from a copy is sound in the next round."""
    first = segments_of(tmp_path / "wal")[0]
    whole = flip(first)
    await scrubber.scrub()
    (line,) = [record for record in caplog.records if record.message == "log.damaged"]
    assert (line.segment, line.offset) == (first.name, 0)  # type: ignore[attr-defined]
    report = read_report(tmp_path)
    assert report is not None
    assert [(place.segment, place.offset) for place in report.damage] == [(first.name, 0)]
    assert (wal.damaged, report.segments, report.ended_at is None) == (1, 3, False)
    first.write_bytes(whole)
    await scrubber.scrub()
    repaired = read_report(tmp_path)
    assert repaired is not None
    assert (wal.damaged, repaired.damage) == (0, ())
    sample = registry.get_sample_value("sigmill_log_scrubbed_bytes_total")
    assert sample == report.size_bytes + repaired.size_bytes
    await wal.close()


async def test_a_round_pauses_after_each_step(
    tmp_path: Path, wal: WriteAheadLog, scrubber: LogScrubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What signs on this host comes first."""
    monkeypatch.setattr(module, "STEP_BYTES", 1)
    steps: list[str] = []
    to_thread = asyncio.to_thread

    async def pause(_: float) -> None:
        steps.append("pause")

    async def on_thread(call: Callable[..., object], *arguments: object, **named: object) -> object:
        if call.__name__ == "read":
            steps.append("read")
        return await to_thread(call, *arguments, **named)

    monkeypatch.setattr(asyncio, "sleep", pause)
    monkeypatch.setattr(asyncio, "to_thread", on_thread)
    await scrubber.scrub()
    assert len(steps) >= 16
    assert steps == ["read", "pause"] * (len(steps) // 2)
    await wal.close()


async def test_a_disk_that_fails_ends_a_round_and_not_the_scrubber(
    wal: WriteAheadLog,
    scrubber: LogScrubber,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failure is logged, and the next round begins."""
    rounds = asyncio.Event()

    async def fails() -> None:
        if caplog.records:
            rounds.set()
            await asyncio.Event().wait()
        raise OSError(5, "Input/output error")

    async def no_pause(_: float) -> None: ...

    monkeypatch.setattr(scrubber, "scrub", fails)
    monkeypatch.setattr(asyncio, "sleep", no_pause)
    running = asyncio.ensure_future(scrubber.run())
    async with asyncio.timeout(10):
        await rounds.wait()
    running.cancel()
    assert [record.message for record in caplog.records] == ["log.not_scrubbed"]
    await wal.close()
