"""Copies of a tenant's log beside it, as an administrator makes them: they are left as they are, and told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from tests.unit.workers.record.test_sealing import checkpoint, seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.exchange import read_status
from workers.record.folder import FOLDER_NAME, LOGS_NAME, log_folder
from workers.record.published import published_heads
from workers.record.replacement import former_records, give_up
from workers.record.retention.marks import FILE_NAME as MARKS
from workers.record.scrubbing.scrubber import RecordScrubber
from workers.record.volumes import RecordDamaged

TOLD = "acme.bak/checkpoint: a copy of the log of acme, which is not sealed on"


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def writer(tmp_path: Path) -> SegmentWriter:
    return SegmentWriter(tmp_path / "wal")


@pytest.fixture
def state_dir(tmp_path: Path, writer: SegmentWriter) -> Path:
    """A sealed record of two tenants."""
    append(writer, *job("acme", 1), *job("globex", 2))
    seal(tmp_path)
    return tmp_path


def logs(state_dir: Path) -> list[str]:
    return sorted(each.name for each in (state_dir / FOLDER_NAME / LOGS_NAME).iterdir())


def copy(state_dir: Path, name: str = "acme.bak") -> Path:
    made = log_folder(state_dir, name)
    shutil.copytree(log_folder(state_dir, "acme"), made)
    return made


@pytest.mark.parametrize("name", ["acme.bak", "acme.old", "0", "zzz"])
def test_a_copy_stops_nothing_and_stays_as_it_is(
    state_dir: Path, writer: SegmentWriter, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The logs are sealed on from where they were, over restarts; the copy is told."""
    made = copy(state_dir, name)
    before = content(made)
    assert MARKS in before, "the copy says that it was durable"
    append(writer, *job("acme", 3), *job("globex", 4))
    for _ in range(2):
        seal(state_dir)
    assert former_records(state_dir) == []
    assert (checkpoint(state_dir, "acme").size, checkpoint(state_dir, "globex").size) == (7, 7)
    assert content(made) == before
    assert {record.__dict__["tenant"] for record in caplog.records if record.msg == "record.rotten"} == {name}


def test_a_copy_of_a_log_that_began_after_what_was_sealed_is_one(
    tmp_path: Path, writer: SegmentWriter
) -> None:
    """The log itself is there, with its own checkpoint."""
    append(writer, *job("acme", 1))
    run_to_end(sealer(tmp_path))
    before = content(copy(tmp_path))
    run_to_end(sealer(tmp_path))
    assert content(log_folder(tmp_path, "acme.bak")) == before
    assert checkpoint(tmp_path).size == 4
    assert logs(tmp_path) == ["acme", "acme.bak"]


def test_a_copy_is_told_by_the_scrubber_and_in_the_status(state_dir: Path) -> None:
    """Once in a round; its files are not held against anything, as a copy of a growing log may be torn."""
    (copy(state_dir) / "level0" / "000000.bin").write_bytes(b"torn")
    scrubber = RecordScrubber(state_dir / FOLDER_NAME / LOGS_NAME)
    scrubber.read(60.0)
    assert scrubber.damage == (TOLD,)
    seal(state_dir)
    status = read_status(state_dir)
    assert status is not None
    assert status.damage == (TOLD,)


def test_a_copy_has_no_head_and_nothing_follows_it(state_dir: Path) -> None:
    """Also where the record is given up later, for another reason."""
    copy(state_dir)
    assert published_heads(state_dir / FOLDER_NAME).keys() == {"acme", "globex"}
    give_up(state_dir)
    assert sealer(state_dir).follows.keys() == {"acme", "globex"}


@pytest.mark.parametrize("at_start", [True, False])
def test_a_tenant_of_its_name_gets_a_log_of_its_own(
    state_dir: Path, writer: SegmentWriter, at_start: bool
) -> None:
    """Nothing is written into the copy, also where it was made beside a sealer that runs; it has another name then."""
    before: dict[str, bytes] = {}
    if at_start:
        before = content(copy(state_dir))
    running = sealer(state_dir)
    if not at_start:
        before = content(copy(state_dir))
    append(writer, *job("acme.bak", 5))
    run_to_end(running)
    running.keep()
    assert checkpoint(state_dir, "acme.bak").size == 4
    assert content(log_folder(state_dir, "acme.bak~misplaced-1")) == before
    append(writer, *job("acme.bak", 6))
    run_to_end(sealer(state_dir))
    assert checkpoint(state_dir, "acme.bak").size == 7


def swapped(state_dir: Path) -> None:
    """The log of globex is lost, and a longer one of acme in its place: no file of it lacks what was sealed."""
    append(SegmentWriter(state_dir / "wal"), *job("acme", 3))
    seal(state_dir)
    shutil.rmtree(log_folder(state_dir, "globex"))
    copy(state_dir, "globex")


def moved(state_dir: Path) -> None:
    """The log of acme has another name."""
    log_folder(state_dir, "acme").rename(log_folder(state_dir, "acme.bak"))


def former(state_dir: Path) -> None:
    """A log of a former record lies among those of this one."""
    name = give_up(state_dir)
    append(SegmentWriter(state_dir / "wal"), *job("acme", 7))
    seal(state_dir)
    shutil.copytree(state_dir / name / LOGS_NAME / "acme", log_folder(state_dir, "acme.bak"))


def begun(state_dir: Path) -> None:
    """Logs of two tenants that began after what was sealed."""
    append(SegmentWriter(state_dir / "wal"), *job("initech", 7), *job("hooli", 8))
    run_to_end(sealer(state_dir))


def begun_and_moved(state_dir: Path) -> None:
    """A log that began after what was sealed has another name: it is not there under its own."""
    begun(state_dir)
    log_folder(state_dir, "initech").rename(log_folder(state_dir, "initech.bak"))


def begun_and_replaced(state_dir: Path) -> None:
    """In its place is a copy of another log."""
    begun_and_moved(state_dir)
    shutil.copytree(log_folder(state_dir, "hooli"), log_folder(state_dir, "initech"))


@pytest.mark.parametrize(
    "happens, why",
    [
        (swapped, "the log of globex is of another name: sigmill/prod/acme/"),
        (moved, "acme/level0/000000.bin is missing"),
        (former, "`sealed` says nothing of the log of acme.bak"),
        (begun_and_moved, "the log of initech.bak is of another name"),
        (begun_and_replaced, "the log of initech.bak is of another name"),
    ],
)
def test_a_log_that_lost_its_own_checkpoint_is_no_copy(
    state_dir: Path, happens: Callable[[Path], None], why: str
) -> None:
    """The files are then not those that were sealed, and nothing is signed on."""
    happens(state_dir)
    with pytest.raises(RecordDamaged, match=why):
        sealer(state_dir)
