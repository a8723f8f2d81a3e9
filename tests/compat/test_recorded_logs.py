"""Segments and records that earlier versions wrote, recorded: today's readers and sealer understand them, always alike."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.entries import decode_entry
from queueing.transparency.notes import read_note
from tests.support.farm.sealed_logs import run_to_end, sealer
from workers.audit.job_history import histories_of
from workers.journal.acknowledged import AcknowledgedFile
from workers.journal.recovery import recover
from workers.record.folder import FOLDER_NAME, log_folder
from workers.record.replacement import former_records
from workers.record.stored_entries import StoredEntries

RECORDED: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("recorded").joinpath("logs.toml").read_text(encoding="ascii")
)
SEGMENTS = {name: [bytes.fromhex(frame) for frame in frames] for name, frames in RECORDED["segments"].items()}
KEPT = 6
"""Frames of ``salted`` behind which the record was kept."""

JOB = ["intent", "outcome", "committed"]
IN_DOUBT = ["intent", "returned-in-doubt", "intent", "unknown"]
OPEN = ["intent", "outcome", "intent"]
KINDS = {
    "first": ["opened", *JOB, *IN_DOUBT, *OPEN],
    "canaries": ["opened", *JOB, *IN_DOUBT, "canary", "intent", "outcome", "fenced", *OPEN],
    "salted": ["opened", *JOB, *IN_DOUBT, "canary", "intent", "outcome", "fenced", *OPEN],
}
ROOTS = {
    "first": "192d9580dfb558f2f1be1e51e54987d740122fdc82788f99666e0a9a2baa4987",
    "canaries": "55b4658dbfb05d082772e6cb828a5d0330454b348f684ea652a9aee0e425b3fd",
    "salted": "72fd6cd900b3e848c0213b08ccb5d112e294acd7ac82c80ae2f9279de171e565",
}
"""Roots of the logs that are made of the segments: a later version that made another one would contradict its checkpoints."""


def job_id(number: int) -> bytes:
    return b"{acme}%032x" % number


def state_of(folder: Path, segment: str) -> Path:
    """A state directory with this segment, and the origin of a record."""
    (folder / "wal").mkdir(parents=True)
    (folder / "wal" / "000000000001.wal").write_bytes(b"".join(SEGMENTS[segment]))
    AcknowledgedFile(folder / "wal").write(1, sum(map(len, SEGMENTS[segment])))
    (folder / FOLDER_NAME).mkdir()
    (folder / FOLDER_NAME / "origin").write_bytes(bytes.fromhex(RECORDED["record"]["origin"]))
    return folder


def head_of(state_dir: Path) -> Checkpoint:
    return read_checkpoint(read_note((log_folder(state_dir, "acme") / "checkpoint").read_bytes()).text)


def files_of(state_dir: Path) -> dict[str, bytes]:
    """Entries and hashes of the log."""
    folder = log_folder(state_dir, "acme")
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.bin")}
    return {name: content for name, content in files.items() if not name.startswith("items/")}


@pytest.mark.parametrize("segment", SEGMENTS)
def test_recovery_of_a_recorded_segment_closes_what_was_open(tmp_path: Path, segment: str) -> None:
    recovered = recover(state_of(tmp_path, segment) / "wal")
    assert [outcome.job_id for outcome in recovered.unreleased] == [job_id(5)]
    assert [unknown.job_id for unknown in recovered.unknown] == [job_id(6)]
    assert recovered.damage == []


@pytest.mark.parametrize("segment", SEGMENTS)
def test_the_history_of_a_job_in_a_recorded_segment_is_told(tmp_path: Path, segment: str) -> None:
    jobs = [job_id(number) for number in (1, 2, 3)]
    histories = histories_of(state_of(tmp_path, segment) / "wal", jobs, since_s=0.0)
    told = [[event.what for event in histories.events[job]] for job in jobs]
    assert told == [
        ["intent", "outcome", "committed"],
        ["intent", "returned-in-doubt"],
        ["intent", "unknown"],
    ]


@pytest.mark.parametrize("segment", SEGMENTS)
def test_a_recorded_segment_is_sealed_to_the_same_log_by_each_version(tmp_path: Path, segment: str) -> None:
    """Nothing of it is skipped, and nothing is told as lost."""
    state_dir = state_of(tmp_path, segment)
    sealing = sealer(state_dir)
    run_to_end(sealing)
    assert (sealing.skipped, sealing.damage) == ([], [])
    head = head_of(state_dir)
    found = StoredEntries(log_folder(state_dir, "acme"), head.size).entries(0)
    assert [getattr(decode_entry(entry), "kind", None) for _, entry in found] == KINDS[segment]
    assert head.root.hex() == ROOTS[segment]


def test_a_record_that_a_former_version_kept_is_continued(tmp_path: Path) -> None:
    """Its state has fewer fields. The log is the one that today's sealer makes alone; it kept no items of jobs in doubt."""
    alone = state_of(tmp_path / "alone", "salted")
    run_to_end(sealer(alone))
    state_dir = state_of(tmp_path / "continued", "salted")
    for name, content in RECORDED["record"].items():
        file = state_dir / FOLDER_NAME / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes.fromhex(content))
    before = head_of(state_dir)
    continued = sealer(state_dir)
    assert continued.place.offset == sum(map(len, SEGMENTS["salted"][:KEPT]))
    run_to_end(continued)
    continued.keep()
    assert files_of(state_dir) == files_of(alone)
    assert head_of(state_dir) == head_of(alone)
    assert before.size < head_of(state_dir).size
    assert former_records(state_dir) == []
    run_to_end(sealer(state_dir))
    assert head_of(state_dir) == head_of(alone)
