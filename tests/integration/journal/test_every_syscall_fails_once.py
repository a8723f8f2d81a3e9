"""Every system call of the log's writer fails once, by strace: acknowledged records are there, and later ones
are written.

After Tessera's fault test (``integration/fault/posix``). The real log runs in a process of its own; only its calls on
its own files are counted and made to fail.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.disk import log_driver
from tests.support.disk.disks import can_trace
from tests.support.tools import tool
from workers.journal.records import OpenedRecord, decode_record
from workers.journal.recovery import recover
from workers.journal.segments import read_segment, segment_path, segments_of

COUNT = 7
SEGMENT_BYTES = 150
"""Two records fill a segment: the run begins four of them."""

CALLS = ("openat", "write", "fdatasync", "fsync", "close", "mkdir")
_LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class Run:
    """Trace of a driven log: ``said`` by the driver, ``calls`` by strace, in order, with the path of each."""

    folder: Path
    said: list[str]
    calls: list[tuple[str, str, bool]]

    @property
    def acknowledged(self) -> list[int]:
        return [int(line) for line in self.said if not line.startswith("failed")]

    @property
    def readable(self) -> list[int]:
        records = [decode_record(raw) for file in segments_of(self.folder) for raw in read_segment(file)]
        return [record.at_ms for record in records if not isinstance(record, OpenedRecord)]


def drive(place: Path, *injections: str) -> Run:
    """Drive a log in ``place`` while these calls are made to fail."""
    place.mkdir()
    folder, said, traced = place / "wal", place / "said", place / "strace"
    paths = [place, folder, *(segment_path(folder, number) for number in range(1, 40))]
    command = [tool("strace"), "-f", "-y", "-qq", "-o", str(traced)]
    killed = any("signal=KILL" in injection for injection in injections)
    if not killed:
        command.append("--seccomp-bpf")  # faster; strace 6.1 injects no signal then
    command += ["-e", f"trace={','.join((*CALLS, 'ftruncate', 'unlink'))}"]
    for path in paths:
        command += ["-P", str(path)]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    command += [
        sys.executable,
        "-P",
        log_driver.__file__,
        str(folder),
        str(said),
        str(COUNT),
        str(SEGMENT_BYTES),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
    lines = [line for line in traced.read_text().splitlines() if "+++" not in line and "= ?" not in line]
    return Run(folder, said.read_text().splitlines(), [_call(line) for line in lines])


def _call(line: str) -> tuple[str, str, bool]:
    match = _LINE.match(line)
    assert match, line
    words = re.findall(r'"(/[^"]*)"|<(/[^>]*)>', match["rest"])
    named = [a or b for a, b in words]
    return match["call"], named[-1] if match["call"] == "openat" else named[0], "(INJECTED)" in line


def check(run: Run) -> None:
    """The rules that hold whatever failed."""
    assert run.acknowledged == list(range(COUNT)), "a record was not written after the failure"
    assert set(run.readable) == set(range(COUNT)), "what was acknowledged is not there"
    assert sorted(run.readable) == run.readable, "the order is lost"
    refused = {int(line.split()[1]) for line in run.said if line.startswith("failed")}
    twice = {number for number, times in Counter(run.readable).items() if times > 1}
    assert twice <= refused, "more was written than was asked"
    failed: set[str] = set()
    newest = ""
    for call, path, injected in run.calls:
        if call in {"write", "fdatasync"}:
            assert path not in failed, "a segment was used again after a failure"
        if injected:
            failed.add(newest if path == str(run.folder) else path)  # its name may not be durable
        elif call == "openat" and path.endswith(".wal"):
            newest = path
    recover(run.folder)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which nothing fails."""
    if not can_trace():
        pytest.skip(
            "ptrace is forbidden here; tests/unit/audit lets the same calls fail by their names in `os`"
        )
    return drive(tmp_path_factory.mktemp("clean") / "run")


def test_the_clean_run_makes_the_calls_that_are_swept(clean: Run) -> None:
    """The sweep needs a run that makes each of these calls."""
    check(clean)
    made = Counter(call for call, _, _ in clean.calls)
    assert set(CALLS) <= made.keys()
    assert made["fdatasync"] == COUNT
    assert len(segments_of(clean.folder)) == 4


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_any_call_fails_once(clean: Run, tmp_path: Path, error: str) -> None:
    """Each call of each kind in its turn, one process for each."""
    made = Counter(call for call, _, _ in clean.calls)
    wanted = [(call, n) for call in CALLS for n in range(1, made[call] + 1)]

    def fails(case: tuple[str, int]) -> Run:
        call, n = case
        return drive(tmp_path / f"{call}-{n}", f"{call}:error={error}:when={n}")

    with ThreadPoolExecutor(2) as threads:
        for (call, n), run in zip(wanted, threads.map(fails, wanted), strict=True):
            assert [c for c, _, injected in run.calls if injected] == [call], (
                f"{call} {n} was not made to fail"
            )
            check(run)
            refused = any(line.startswith("failed") for line in run.said)
            assert refused or call == "close", f"{call} {n}: its failure was not told"


def test_a_process_that_is_killed_behind_a_failed_append_leaves_nothing_of_it(
    clean: Run, tmp_path: Path
) -> None:
    """The sync of its second record fails; it ends where it would begin the next segment."""
    run = drive(
        tmp_path / "run", "fdatasync:error=EIO:when=2", f"openat:signal=KILL:when={_second_segment(clean)}"
    )
    assert run.said == ["0", "failed 1"]
    assert ("ftruncate", str(segment_path(run.folder, 1)), False) in run.calls
    assert run.readable == [0]


@pytest.mark.parametrize("fault", ["error=EIO", "signal=KILL"])
def test_a_tail_that_is_not_cut_is_read_back_where_the_process_ends(
    clean: Run, tmp_path: Path, fault: str
) -> None:
    """The cut fails, or the process ends before it: nothing says that the record does not count, and no other is touched."""
    injections = ["fdatasync:error=EIO:when=2", f"ftruncate:{fault}:when=1"]
    if fault == "error=EIO":
        injections.append(f"openat:signal=KILL:when={_second_segment(clean)}")
    run = drive(tmp_path / "run", *injections)
    assert [line for line in run.said if not line.startswith("failed")] == ["0"]
    assert run.readable == [0, 1]
    assert recover(run.folder).damage == []


def _second_segment(clean: Run) -> int:
    """Number of the call of openat that begins the second segment: only those of segments are made by then."""
    opened = [path for call, path, _ in clean.calls if call == "openat"]
    return next(number for number, path in enumerate(opened, 1) if path.endswith("2.wal"))


def test_an_outage_in_which_nothing_can_be_removed_either(clean: Run, tmp_path: Path) -> None:
    """Syncs fail five times in a row, and unlink always."""
    run = drive(tmp_path / "run", "fdatasync:error=EIO:when=3..7", "unlink:error=EROFS:when=1+")
    check(run)
    assert sum(line.startswith("failed") for line in run.said) == 5
    assert any(call == "unlink" for call, _, _ in run.calls)
