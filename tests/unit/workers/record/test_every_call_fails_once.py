"""Each place at which the sealer works on files fails once, with each fault: what it seals then is what it seals without.

The scenario has a first start, a start behind a crash, and a record that is given up; its calls are counted by the place that
makes them. The first call of each place fails, and the last one of a place that writes (by ``make record-sweep`` each one): with an
error, or with the death of the process (a child, which is really killed, and has written half where the call is a write).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import signal
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import pytest

from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.merkle import TreeEdge, leaf_hash
from queueing.transparency.notes import read_note
from tests.support.farm.logged_jobs import append, intent, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from tests.unit.workers.record.test_sealing import seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import FOLDER_NAME, LOGS_NAME, log_folder
from workers.record.replacement import former_records, give_up
from workers.record.retention.policy import adopt_policy
from workers.record.stored_entries import StoredEntries

Site = tuple[str, str]
"""Name of a call, and the function of ours that makes it, with the one that calls that."""

IN_OS: Final = (
    "open", "write", "pread", "pwrite", "fsync", "fdatasync", "replace", "rename", "mkdir", "unlink", "truncate", "scandir",
    "stat", "lstat", "fstat", "fchmod", "fchown",
)  # fmt: skip
STREAM: Final = ("io.open", "io.read", "io.write", "io.flush")
MADE: Final = frozenset(IN_OS) - {"rename"} | set(STREAM)
"""Calls that the scenario makes; a record that is given up is renamed."""

PARTS: Final = 4
"""Each fault comes to some two hundred calls, of which one test takes a part."""

SWEEP: Final = os.environ.get("SIGMILL_TEST_SWEEP", "ends")
"""``all``: each call of each place fails, some thousand for each fault (``make record-sweep``)."""

LOOKS: Final = frozenset({"stat", "lstat", "fstat", "scandir", "io.open", "io.read", "pread"})
"""Calls that change nothing: the first one of a place fails, of others also the last one."""

ROOT: Final = Path(__file__).parents[4]
OURS: Final = tuple(f"{ROOT / name}/" for name in ("workers/record", "workers/journal", "queueing/files"))


def chosen(count: int, *, last: bool = True) -> Iterable[int]:
    """Numbers of the calls of a place that fail, one in each case: the first one, and the ``last`` one; or each of them."""
    if SWEEP == "all":
        return range(1, count + 1)
    return sorted({1, count if last else 1})


class Faulty:
    """Calls on files below ``folder``, counted by site; call ``number`` of ``site`` gets ``fault``."""

    def __init__(
        self, folder: Path, site: Site | None = None, number: int = 0, fault: int | None = None
    ) -> None:
        self._folder = str(folder)
        self._site = site
        self._number = number
        self._fault = fault
        self.counts: defaultdict[Site, int] = defaultdict(int)
        self.struck = False

    @contextmanager
    def patched(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Let the calls pass through here."""
        with patch.context() as each:
            for name in IN_OS:
                each.setattr(os, name, self._call(name, getattr(os, name)))
            each.setattr(io, "open", self._opened(builtins.open))
            yield

    def _call(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if arguments and self._is_ours(arguments[0]):
                self._strike(name, lambda: half_of(real, *arguments))
            return real(*arguments, **more)

        return call

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, *arguments: Any, **more: Any) -> Any:
            if not self._is_ours(file):
                return real(file, *arguments, **more)
            self._strike("io.open", lambda: None)
            return Stream(real(file, *arguments, **more), self._strike)

        return call

    def _is_ours(self, subject: Any) -> bool:
        if isinstance(subject, int):
            subject = f"/proc/self/fd/{subject}"
            try:
                subject = READLINK(subject)
            except OSError:
                return False
        return os.fsdecode(subject).startswith(self._folder)

    def _strike(self, name: str, half: Callable[[], object]) -> None:
        ours = _callers()
        if not ours:
            return
        site = name, " < ".join(ours)
        self.counts[site] += 1
        if site != self._site or self.counts[site] != self._number or self._fault is None:
            return
        self.struck = True
        if self._fault == signal.SIGKILL:
            if name in {"write", "pwrite", "io.write"}:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self._fault, os.strerror(self._fault))


READLINK: Final = os.readlink


def _callers() -> list[str]:
    """The two innermost functions of ours that are running."""
    found: list[str] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(found) < 2:
        code = frame.f_code
        if code.co_filename.startswith(OURS):
            found.append(f"{Path(code.co_filename).stem}.{code.co_name}")
        frame = frame.f_back
    return found


def half_of(write: Callable[..., object], descriptor: int, data: bytes, *offset: int) -> None:
    """The first half of what a call was to write."""
    write(descriptor, data[: len(data) // 2], *offset)


class Stream:
    """A stream whose reads and writes can fail."""

    def __init__(self, stream: Any, strike: Callable[[str, Callable[[], object]], None]) -> None:
        self._stream = stream
        self._strike = strike

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(self, *what: object) -> Any:
        return self._stream.__exit__(*what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, *size: int) -> Any:
        self._strike("io.read", lambda: None)
        return self._stream.read(*size)

    def write(self, data: bytes) -> Any:
        def half() -> None:
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()

        self._strike("io.write", half)
        return self._stream.write(data)

    def flush(self) -> None:
        self._strike("io.flush", lambda: None)
        self._stream.flush()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Three segments; the later ones are put into place by the scenario."""
    folder = tmp_path / "prepared"
    for number in range(3):
        writer = SegmentWriter(folder / "wal")
        append(writer, *job("acme", 10 * number + 1), *job("globex", 10 * number + 2))
        append(writer, intent("acme", 10 * number + 3))
    return folder


def begun(prepared: Path, state: Path) -> Path:
    """A state directory with the first two segments, one of them sealed, and tails of files that were not kept."""
    (state / "wal").mkdir(parents=True)
    for name in ("000000000001.wal", "000000000002.wal"):
        shutil.copy(prepared / "wal" / name, state / "wal" / name)
    (state / FOLDER_NAME).mkdir()
    (state / FOLDER_NAME / "origin").write_text("ab" * 64 + " 1.0\n")
    adopt_policy(state / "sealer", 730, {})
    return state


def scenario(state: Path, prepared: Path, *, crash: bool) -> None:
    """Seal; crash with files that are longer than what was kept; seal the rest behind it."""
    seal(state, waits=2)
    for name in ("000000000003.wal", "acknowledged"):
        beside = state / f"{name}.part"
        shutil.copyfile(prepared / "wal" / name, beside)
        beside.rename(state / "wal" / name)
    if crash:
        run_to_end(sealer(state))
    seal(state, waits=2)


def settled(state: Path, prepared: Path) -> dict[str, bytes]:
    """Content of the record when everything is sealed by processes to which nothing happens."""
    scenario(state, prepared, crash=False)
    folder = state / FOLDER_NAME / LOGS_NAME
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.bin")}


def heads(state: Path) -> dict[str, Checkpoint]:
    found = {}
    for tenant in ("acme", "globex"):
        file = log_folder(state, tenant) / "checkpoint"
        if file.exists():
            found[tenant] = read_checkpoint(read_note(file.read_bytes()).text)
    return found


def check_prefix(state: Path, tenant: str, head: Checkpoint) -> None:
    edge = TreeEdge()
    stored = StoredEntries(log_folder(state, tenant), heads(state)[tenant].size)
    for index, entry in stored.entries(0):
        if index < head.size:
            edge.append(leaf_hash(entry))
    assert (edge.size, edge.root()) == (head.size, head.root), (
        "a published checkpoint is no beginning of the log"
    )


def struck(run: Callable[[], None], fault: int, faulty: Faulty) -> bool:
    """Run with a fault; whether it came. A process that is to be killed is a child."""
    if fault != signal.SIGKILL:
        run()
        return faulty.struck
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC, signal.SIGKILL])
def test_each_call_of_the_sealer_fails_once_and_the_log_is_the_same(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, fault: int, part: int
) -> None:
    """And every checkpoint that was published by then is a beginning of it."""
    whole = settled(begun(prepared, tmp_path / "clean"), prepared)
    counted = Faulty(begun(prepared, tmp_path / "counted"))
    with counted.patched(monkeypatch):
        scenario(tmp_path / "counted", prepared, crash=True)
    assert {name for name, _ in counted.counts} >= MADE, "a call is swept that is not made"
    cases = [
        (site, number)
        for site, count in counted.counts.items()
        for number in chosen(count, last=site[0] not in LOOKS)
    ]
    for place, (site, number) in enumerate(cases[part::PARTS]):
        state = begun(prepared, tmp_path / str(place))
        faulty = Faulty(state, site, number, fault)

        def run(state: Path = state, faulty: Faulty = faulty) -> None:
            with faulty.patched(monkeypatch):
                try:
                    scenario(state, prepared, crash=True)
                except OSError:
                    assert "run_to_end" in traceback.format_exc()  # the sealer that crashes has no loop

        assert struck(run, fault, faulty), (site, number)
        published = heads(state)
        assert settled(state, prepared) == whole, (site, number)
        for tenant, head in published.items():
            check_prefix(state, tenant, head)
        assert former_records(state) == [], (site, number, "no failure of a disk is damage")
        shutil.rmtree(state)


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC, signal.SIGKILL])
def test_each_call_of_giving_a_record_up_fails_once_and_nothing_of_it_is_lost(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """The next try or start finishes it: the former record is kept whole, and the new one seals the same entries."""
    sealed = tmp_path / "sealed"
    whole = settled(begun(prepared, sealed), prepared)
    counted = Faulty(tmp_path / "counted")
    shutil.copytree(sealed, tmp_path / "counted")
    with counted.patched(monkeypatch):
        give_up(tmp_path / "counted")
    assert {name for name, _ in counted.counts} >= {
        "open",
        "fsync",
        "rename",
        "replace",
        "mkdir",
        "scandir",
        "stat",
    }
    for place, (site, count) in enumerate(counted.counts.items()):
        for number in chosen(count):
            state = tmp_path / f"{place}-{number}"
            shutil.copytree(sealed, state)
            faulty = Faulty(state, site, number, fault)

            def run(state: Path = state, faulty: Faulty = faulty) -> None:
                with faulty.patched(monkeypatch):
                    try:
                        give_up(state)
                    except OSError:
                        assert faulty.struck

            assert struck(run, fault, faulty), (site, number)
            seal(state, waits=2)
            kept = [state / FOLDER_NAME, *former_records(state)]
            logs = [
                {str(file.relative_to(each / LOGS_NAME)): file.read_bytes() for file in each.rglob("*.bin")}
                for each in kept
            ]
            assert whole in logs, (site, number)
            assert heads(state)["acme"].size == heads(sealed)["acme"].size
            shutil.rmtree(state)
