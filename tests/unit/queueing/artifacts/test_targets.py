"""Places of signed files: names that a file can have, and what a full disk costs."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from queueing.artifacts.targets import Target
from queueing.errors import InputUnreadable, OutputUnwritable


class Disk:
    """Writes that fail with these error numbers in turn, and then go well."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.writes = 0

    def write(self, to: BinaryIO) -> None:
        self.writes += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "scripted")
        to.write(b"signed")


@pytest.mark.parametrize("full", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("in_place", [True, False], ids=["in-place", "below"])
def test_a_disk_that_was_full_for_a_moment_is_tried_again(tmp_path: Path, full: int, in_place: bool) -> None:
    """The part of a larger file beside it, which does not fit, is gone by then."""
    file = tmp_path / "tool.exe"
    file.write_bytes(b"as it was")
    target, disk = Target(file) if in_place else Target.below(tmp_path, Path("tool.exe")), Disk(full)
    target.write(disk.write, mode=0o600)
    assert (file.read_bytes(), disk.writes) == (b"signed", 2)


@pytest.mark.parametrize("failures", [(errno.ENOSPC, errno.ENOSPC), (errno.EIO,)], ids=["full", "broken"])
def test_a_disk_that_stays_full_or_fails_costs_the_file_alone(
    tmp_path: Path, failures: tuple[int, ...]
) -> None:
    """It stays as it was, no part is left, and nothing is tried a third time."""
    file = tmp_path / "tool.exe"
    file.write_bytes(b"as it was")
    disk = Disk(*failures)
    with pytest.raises(OutputUnwritable, match="cannot be written: scripted"):
        Target(file).write(disk.write, mode=0o600)
    assert (file.read_bytes(), disk.writes) == (b"as it was", len(failures))
    assert [each.name for each in tmp_path.iterdir()] == ["tool.exe"]


def test_a_file_that_found_no_room_is_tried_again_when_no_other_is_written(tmp_path: Path) -> None:
    """The larger file beside it has the disk until it has failed; only then its part is gone."""
    full, large_fails, order = threading.Event(), threading.Event(), list[str]()

    def write_large(_: BinaryIO) -> None:
        full.set()
        assert large_fails.wait(30)
        order.append("large")
        raise OSError(errno.EFBIG, "scripted")

    def write_small(to: BinaryIO) -> None:
        order.append("small")
        if len(order) == 1:
            assert full.wait(30)
            large_fails.set()
            raise OSError(errno.ENOSPC, "scripted")
        to.write(b"signed")

    small, large = tmp_path / "small.exe", tmp_path / "large.exe"
    for file in (small, large):
        file.write_bytes(b"as it was")
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(Target(large).write, write_large, mode=0o600)
        assert full.wait(30)
        threads.submit(Target(small).write, write_small, mode=0o600).result(60)
        with pytest.raises(OutputUnwritable):
            failing.result(60)
    assert order == ["small", "large", "small"]
    assert (small.read_bytes(), large.read_bytes()) == (b"signed", b"as it was")


@pytest.mark.parametrize(
    "name, why",
    [
        ("../tool.exe", "the name leads out of --out-dir"),
        ("tool\x00.exe", "the name has a NUL character, which no file can have in its name"),
        ("/", "this is the name of no file"),
    ],
)
def test_a_name_that_no_file_below_the_folder_has_is_told_as_what_it_is(name: str, why: str) -> None:
    with pytest.raises(InputUnreadable) as refused:
        Target.below(Path("out"), Path(name))
    assert refused.value.message == why
